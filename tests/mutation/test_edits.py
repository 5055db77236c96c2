"""Edits that change a number are noticed, edits that do not leave every address and every finished thing as it is.

Each is made in a copy of the tree and its state taken in a process of its own (tests/support/code_states.py). All of
them together take about a quarter of an hour (``-m long``); a few of each run always, the neutral ones at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from code_states import ROOT, Trial
from edits import CHANGING, NEUTRAL

FEW_CHANGING = ("normaliser over chunks of classes", "labels of ADE20K", "a kind of COCO-Stuff")
FEW_NEUTRAL = ("a new module", "a renamed module of a method", "an equal expression")


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    trial = Trial(tmp_path_factory.mktemp("trial"))
    yield trial
    trial.close()


@pytest.mark.parametrize("name", [*CHANGING, *NEUTRAL])
def test_every_edit_finds_its_text(name: str) -> None:
    edit = {**CHANGING, **NEUTRAL}[name]
    if edit.file == "@move":
        assert (ROOT / edit.before).is_file()
        assert not (ROOT / edit.after).exists()
    elif edit.before:
        assert edit.before in (ROOT / edit.file).read_text(encoding="utf-8")
    else:
        assert not (ROOT / edit.file).exists()


def test_there_are_enough_of_each() -> None:
    assert len(CHANGING) >= 40
    assert len(NEUTRAL) >= 25


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW_CHANGING)
def test_a_changed_number_is_noticed(trial: Trial, name: str) -> None:
    assert trial.of(CHANGING[name])


@pytest.mark.slow
def test_neutral_edits_change_nothing(trial: Trial) -> None:
    assert trial.of_all(NEUTRAL[name] for name in FEW_NEUTRAL) == []


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in CHANGING if n not in FEW_CHANGING])
def test_every_changed_number_is_noticed(trial: Trial, name: str) -> None:
    assert trial.of(CHANGING[name])


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in NEUTRAL if n not in FEW_NEUTRAL])
def test_every_neutral_edit_changes_nothing(trial: Trial, name: str) -> None:
    assert trial.of(NEUTRAL[name]) == []
