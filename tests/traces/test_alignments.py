"""The trace of an alignment rests on its loss, and the gate on numbers goes through all of its readings."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from repro.configuration.profiles import load_profile
from repro.methods.alignments import alignments
from repro.methods.options import choices
from repro.paths import DEFAULT_RUNS
from repro.runs.assets import Assets
from repro.runs.gates.pieces import pieces
from repro.sources.trace import Trace
from repro.towers.aligned import read_recipe
from repro.traces.towers import alignment_trace
from repro.traces.watching import portable

ELSEWHERE = {
    "teacher": "needs labels",
    "accept_weak_teacher": "needs labels",
    "average_gradients": "needs several processes",
    "amp": "needs a GPU",
    "temperature": "the recipe of the traced tower has the other",
}


def traced(**changes: Any) -> Trace:
    assets = Assets(load_profile("mini"), DEFAULT_RUNS, None)
    recipe = read_recipe(assets.profile, "densevlm")
    towers = [assets.untrained_tower(key) for key in (recipe.base, recipe.powerful)]
    with portable():
        return alignment_trace(recipe.entry, dataclasses.replace(recipe.options, **changes), *towers)


@pytest.fixture(scope="module")
def whole() -> Trace:
    return traced()


def test_every_step_of_the_trace_learns_from_things_and_from_stuff(whole: Trace):
    loss, step, stuff, things = (whole["curve"][k::4] for k in range(4))
    assert step == [1, 2]
    assert min(loss) > 0.1
    assert min(things) >= 1
    assert min(stuff) >= 1


def test_a_changed_loss_is_seen(whole: Trace, monkeypatch: pytest.MonkeyPatch):
    from baselines.densevlm import loss

    exact = loss.divergence

    def other(*args: Any) -> Any:
        return exact(*args) * 1.0001

    monkeypatch.setattr(loss, "divergence", other)
    assert traced()["curve"] != whole["curve"]


def test_each_reading_is_another_training_but_for_the_two_that_are_one_without_a_threshold(whole: Trace):
    (entry,) = alignments().values()
    found = {repr(reading): repr(traced(**reading)) for reading in entry.readings} | {"": repr(whole)}
    logits, decoupled = (found.pop(repr(one)) for one in ({"objective": "logits"}, {"thing_classes": "all"}))
    assert logits == decoupled  # over all categories for things as for stuff, every region taking part
    assert len({logits, *found.values()}) == len(found) + 1


def test_every_choice_of_an_option_is_a_reading_or_is_looked_at_elsewhere():
    (entry,) = alignments().values()
    read = {item for reading in entry.readings for item in reading.items()}
    missing = {(name, value) for name, value in choices(entry.options) if name not in ELSEWHERE} - read
    assert not missing


def test_the_gate_goes_through_every_reading():
    (entry,) = alignments().values()
    names = {piece.name for piece in pieces()}
    for reading in entry.readings:
        assert f"{entry.name} " + " ".join(f"{k}={v}" for k, v in reading.items()) in names
