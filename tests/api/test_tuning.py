"""Every method is tuned by the same draws with the same budget, and what is known is not trained again."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_trials import FakeTrials

from repro.api import tuning
from repro.api.trials import methods_of, open_searches
from repro.api.tuning import preview, run_one, tune
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.errors import RunError, UsageError
from repro.launch.job import Launch
from repro.methods import get_method
from repro.methods.options import loss_weights
from repro.reports.tuning import COLUMNS, Tuning, read_tuning, weights_of
from repro.requests import RunRequest, TuneRequest
from repro.training.search import Rung

METHODS = ("catseg", "disa", "synseg")
WHOLE = load_profile("mini").train.iterations
HALF, QUARTER = WHOLE // 2, WHOLE // 4


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTrials:
    return FakeTrials(tmp_path / "held_out", monkeypatch)


def request(folder: Path, *methods: str, **changes: Any) -> TuneRequest:
    words: dict[str, Any] = {"profile": "mini", "runs": folder, "device": "cpu", "methods": methods or METHODS}
    return TuneRequest(**{**words, **changes})


def quiet(_: str) -> None:
    """Say nothing."""


def search(asked: TuneRequest) -> Tuning:
    return tune(asked, log=quiet)


def test_all_methods_have_the_same_trials_and_iterations(fake: FakeTrials, tmp_path: Path) -> None:
    found = search(request(tmp_path))
    budgets = {m: Counter(t.iterations for name, t, _ in fake.asked if name == m) for m in METHODS}
    assert budgets == {m: Counter({QUARTER: 8, HALF: 4, WHOLE: 2}) for m in METHODS}
    for number in range(1, 8):
        own = [r for r in found.rows if (r["trial"], r["rung"]) == (number, 1)]
        assert [r["method"] for r in own] == list(METHODS)
        assert len({(r["lr"], r["weight_decay"]) for r in own}) == 1
    assert found.exit_code == 0


def test_bounds_follow_the_recipe_that_methods_share_and_not_their_own(tmp_path: Path) -> None:
    profile = load_profile("mini")
    (opened,) = open_searches(request(tmp_path, "disa", trials=40))
    lrs = [t.values["lr"] for t in opened.trials[1:]]
    low, high = (profile.train.lr * factor for factor in profile.tuning.lr)
    assert all(low * 0.99 < lr < high * 1.01 for lr in lrs)
    assert max(lrs) > 1.8 * profile.train.lr > 3.5 * profile.train_settings("disa").lr


def test_the_first_trial_is_the_method_as_it_is(fake: FakeTrials, tmp_path: Path) -> None:
    search(request(tmp_path, "disa", trials=2))
    present = RunRequest(profile="mini", runs=tmp_path, method="disa").run()
    assert fake.asked[0] == ("disa", present.train, present.options)


def test_weights_of_losses_are_searched_where_a_loss_is_on(tmp_path: Path) -> None:
    assert loss_weights(get_method("disa").make_options()) == {"itm_weight": 0.1}
    assert loss_weights(get_method("disa").make_options({"itm_weight": 0.0})) == {}
    assert list(loss_weights(get_method("synseg").make_options())) == [
        f"{name}_weight" for name in ("align", "cont", "back", "sep")
    ]
    assert loss_weights(get_method("catseg").make_options()) == {}
    (opened,) = open_searches(request(tmp_path, "synseg", trials=30))
    for name, value in opened.trials[0].weights.items():
        drawn = {t.weights[name] / value for t in opened.trials[1:]}
        assert 0.24 < min(drawn) < 0.5
        assert 2 < max(drawn) < 4.1
    options = opened.trials[3].request(Rung(4, 1)).run().options
    assert {k: getattr(options, k) for k in opened.trials[3].weights} == opened.trials[3].weights


def test_the_last_rung_decides_and_the_present_values_are_on_it(fake: FakeTrials, tmp_path: Path) -> None:
    # Short trainings like high rates, the whole one does not.
    fake.reached = lambda method, train: train.lr if train.iterations < WHOLE else 1 - 100 * train.lr
    found = search(request(tmp_path))
    for row in found.chosen:
        last = [r for r in found.rows if r["method"] == row["method"] and r["iterations"] == WHOLE]
        assert row["miou_gt"] == max(r["miou_gt"] for r in last)
        assert row["trial"] == 0  # the other on the last rung has the highest rate
        assert {r["trial"] for r in last} > {0}
    assert len(found.chosen) == len(METHODS)


def test_of_equal_trials_the_lower_rate_is_chosen(fake: FakeTrials, tmp_path: Path) -> None:
    fake.reached = lambda method, train: 0.25
    found = search(request(tmp_path, "catseg"))
    last = [r for r in found.rows if r["iterations"] == WHOLE]
    assert found.chosen[0]["lr"] == min(r["lr"] for r in found.rows)
    assert found.chosen[0] in last


def test_a_second_call_trains_nothing_and_finds_the_same(fake: FakeTrials, tmp_path: Path) -> None:
    first = search(request(tmp_path))
    fake.asked.clear()
    assert search(request(tmp_path)).rows == first.rows
    assert fake.asked == []
    search(request(tmp_path, trials=9))  # more trials have the first ones in common
    assert Counter(t.iterations for *_, t, _ in fake.asked)[QUARTER] == len(METHODS)


def test_a_trial_that_diverges_is_lost_with_its_reason_and_not_tried_again(fake: FakeTrials, tmp_path: Path) -> None:
    highest = max(t.values["lr"] for t in open_searches(request(tmp_path))[0].trials[1:])
    fake.diverges = lambda method, train: train.lr == highest
    found = search(request(tmp_path))
    lost = [r for r in found.rows if r["status"] == "diverged"]
    assert [(r["method"], r["rung"]) for r in lost] == [(m, 1) for m in METHODS]
    assert all("diverged at iteration 3" in r["error"] for r in lost)
    assert len(found.chosen) == len(METHODS)
    assert found.exit_code == 0
    assert Counter(r["rung"] for r in found.rows) == {1: 24, 2: 12, 3: 6}  # others have its place
    fake.asked.clear()
    assert search(request(tmp_path)).rows == found.rows
    assert fake.asked == []
    written = read_tuning(found.write(tmp_path / "results"))
    assert sum("diverged at iteration 3" in row["error"] for row in written) == len(METHODS)
    assert "Lost: disa, trial" in found.sheet().markdown()


def test_present_values_that_diverge_leave_their_place_to_others(fake: FakeTrials, tmp_path: Path) -> None:
    fake.diverges = lambda method, train: (
        train == dataclasses.replace(load_profile("mini").train_settings("catseg"), iterations=train.iterations)
    )
    found = search(request(tmp_path, "catseg"))
    assert Counter(r["rung"] for r in found.rows) == {1: 8, 2: 4, 3: 2}
    assert found.chosen[0]["trial"] != 0
    assert found.sheet().rows[0]["present"] == ""


def test_a_method_all_of_whose_trials_diverge_has_no_choice(fake: FakeTrials, tmp_path: Path) -> None:
    fake.diverges = lambda method, train: method == "disa"
    found = search(request(tmp_path))
    assert {r["method"] for r in found.chosen} == {"catseg", "synseg"}
    assert found.exit_code == 1
    assert "disa: the search did not come to its end." in found.sheet().remarks


def test_a_trial_that_fails_stops_its_method_and_the_next_call_goes_on(fake: FakeTrials, tmp_path: Path) -> None:
    fake.breaks = lambda method, train: method == "disa" and train.iterations == HALF and train.lr != 2e-3
    found = search(request(tmp_path))
    assert {r["method"] for r in found.chosen} == {"catseg", "synseg"}
    assert max(r["iterations"] for r in found.rows if r["method"] == "disa") == HALF
    assert found.exit_code == 1
    written = read_tuning(found.write(tmp_path / "results"))
    assert [r["error"] for r in written if r["status"] == "failed"] == ["the disk is slow, or full"] * 3
    fake.breaks = lambda method, train: False
    fake.asked.clear()
    whole = search(request(tmp_path))
    assert [(m, t.iterations) for m, t, _ in fake.asked] == [("disa", HALF)] * 3 + [("disa", WHOLE)] * 2
    assert whole.exit_code == 0


def test_one_trial_is_the_one_of_the_search(fake: FakeTrials, tmp_path: Path) -> None:
    record = run_one(request(tmp_path, "disa"), f"3@{HALF}", log=quiet)
    (opened,) = open_searches(request(tmp_path, "disa"))
    assert opened.trials[3].record(opened.rungs[1]) == record
    assert fake.asked[0][1].lr == opened.trials[3].values["lr"]
    for wrong in (f"8@{QUARTER}", f"3@{QUARTER + 1}", "x"):
        with pytest.raises(UsageError, match="one trial of one method"):
            run_one(request(tmp_path, "disa"), wrong, log=quiet)
    with pytest.raises(UsageError, match="one trial of one method"):
        run_one(request(tmp_path, "disa", "catseg"), f"3@{HALF}", log=quiet)


def test_a_table_stands_for_its_trained_methods_each_once() -> None:
    rows = load_table("table1").rows
    assert {"clip", "disa"} < {row.method for row in rows}
    assert methods_of(["table1"]) == [m for m in dict.fromkeys(row.method for row in rows) if get_method(m).trainable]
    assert methods_of(["disa", "table4"]) == ["disa"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["catsegg"], "did you mean catseg"),
        (["clip"], "not trained"),
        (["densevlm-table1"], "no method is left"),
    ],
)
def test_names_that_leave_nothing_to_tune_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        methods_of(names)


@pytest.mark.parametrize("budget", [{"trials": 0}, {"scenes": 0}])
def test_a_budget_of_nothing_is_refused(budget: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs"):
        open_searches(request(tmp_path, **budget))


def test_the_preview_counts_iterations_and_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(preview(request(tmp_path, "catseg")))
    seconds = load_profile("mini").cost["train_s_per_iteration"]["catseg"] * (8 * QUARTER + 4 * HALF + 2 * WHOLE)
    assert f"trainings one after the other: {int(seconds) // 60} min" in text
    assert f"{8 * QUARTER + 4 * HALF + 2 * WHOLE:,} iterations in all" in text
    assert text.count("  trial ") == 8
    monkeypatch.setattr(tuning, "train_seconds", lambda run, device: None if run.entry.name == "disa" else 1.0)
    assert "all trainings one after the other: unknown" in "\n".join(preview(request(tmp_path, "catseg", "disa")))


def test_rows_say_what_they_are_and_those_of_another_search_stay(fake: FakeTrials, tmp_path: Path) -> None:
    first = search(request(tmp_path, "disa", trials=2))
    path = first.write(tmp_path)
    assert tuple(path.read_text().splitlines()[0].split(",")) == COLUMNS
    search(request(tmp_path, "disa", trials=2, seed=1)).write(tmp_path)
    search(request(tmp_path, "catseg", trials=2)).write(tmp_path)
    rows = read_tuning(path)
    assert Counter((r["method"], r["seed"]) for r in rows) == {("disa", "0"): 2, ("disa", "1"): 2, ("catseg", "0"): 2}
    first.write(tmp_path)  # again: replaced, not doubled
    assert sorted(map(str, read_tuning(path))) == sorted(map(str, rows))
    row = next(r for r in rows if r["trial"] == "1")
    assert weights_of(row["loss_weights"]) == first.rows[1]["loss_weights"]
    assert float(row["miou_gt"]) == first.rows[1]["miou_gt"]
    assert [r["chosen"] for r in rows].count("yes") == 3


def test_rows_of_another_precision_stay(fake: FakeTrials, tmp_path: Path) -> None:
    search(request(tmp_path, "disa", trials=2)).write(tmp_path)
    path = search(request(tmp_path, "disa", trials=2, training={"amp": "bf16"})).write(tmp_path)
    assert Counter(row["training"] for row in read_tuning(path)) == {"": 2, "amp=bf16": 2}


def test_a_failure_after_a_divergence_that_was_not_noted_is_no_divergence(fake: FakeTrials, tmp_path: Path) -> None:
    (opened,) = open_searches(request(tmp_path, "disa"))
    trial, rung = opened.trials[0], opened.rungs[0]
    fake.diverges = lambda method, train: True
    assert trial.run(rung, quiet)["status"] == "diverged"
    trial.record_path(rung).unlink()  # ended between the two
    fake.diverges, fake.breaks = (lambda method, train: False), (lambda method, train: True)
    with pytest.raises(RunError, match="the disk is slow"):
        trial.run(rung, quiet)
    assert trial.record(rung) is None


@pytest.mark.follows("repro.api.tuning:job_words")
def test_what_no_command_can_say_is_refused_side_by_side(tmp_path: Path) -> None:
    asked = request(tmp_path, "disa", training={"batch_size": 1})
    with pytest.raises(UsageError, match="cannot say") as caught:
        tune(asked, how=Launch("local", max_parallel=2), log=quiet)
    assert caught.value.found == "batch_size"


def test_the_lines_to_paste_make_the_chosen_run(fake: FakeTrials, tmp_path: Path) -> None:
    fake.reached = lambda method, train: 1 - train.lr
    found = search(request(tmp_path))
    overrides, *weights = found.lines()
    said: dict[str, Any] = {}
    exec(overrides, said)
    profile = dataclasses.replace(load_profile("mini"), train_overrides=said["train_overrides"])
    for row in found.chosen:
        settings = profile.train_settings(row["method"])
        assert (settings.lr, settings.weight_decay) == (row["lr"], row["weight_decay"])
    # What was not tuned stays as it is.
    assert profile.train_settings("logoseg") == load_profile("mini").train_settings("logoseg")
    tuned = {row["method"]: row["loss_weights"] for row in found.chosen if row["trial"] and row["loss_weights"]}
    assert tuned.keys() == {"disa", "synseg"}
    for line in weights:
        name = line.split(", ")[1]
        assert eval(line.partition(": ")[2]) == tuned.pop(name)
    assert tuned == {}
