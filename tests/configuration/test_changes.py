"""Values replaced by name: typed, part of addresses, said under tables; profiles that build on one by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.configuration.changes import changed
from repro.configuration.profiles import load_profile
from repro.errors import UsageError
from repro.requests import RunRequest, TableRequest, TuneRequest


def test_a_change_wins_over_what_the_profile_says_for_a_method() -> None:
    profile = changed(load_profile("mini"), {"train.lr": "1e-3", "protocol.overlap": 0.5, "train.amp": "bf16"})
    for method in ("catseg", "disa", "synseg"):
        settings = profile.train_settings(method)
        assert (settings.lr, settings.amp) == (1e-3, "bf16")
        assert settings.iterations == load_profile("mini").train.iterations
    assert profile.protocol.stride == 32
    assert profile.changes == ("train.lr = 0.001", "protocol.overlap = 0.5", "train.amp = 'bf16'")
    assert load_profile("mini").changes == ()


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("train.lrr", 1, "did you mean train.lr"),
        ("lr", 1, "train.lr"),
        ("train.lr", "fast", "train.lr does not fit"),
        ("train.iterations", 0, "from 1"),
        ("train.amp", "bf17", "did you mean bf16"),
        ("protocol.overlap", 1, "below 1"),
        ("protocol.version", 2, "unknown value of a profile"),
        ("train.average_from", 1.5, "to 1"),
    ],
)
def test_an_unknown_name_or_a_value_that_does_not_fit_is_refused(name: str, value: object, found: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(load_profile("mini"), {name: value})
    assert found in str(caught.value)


@pytest.mark.parametrize(("value", "found"), [("many", "train.iterations does not fit"), (0, "from 1")])
def test_a_library_call_with_a_value_that_does_not_fit_is_refused_too(value: object, found: str) -> None:
    with pytest.raises(UsageError, match=found):
        RunRequest(method="disa", profile="smoke", training={"iterations": value}).run()


def test_changes_are_part_of_the_address_of_a_run_and_of_an_evaluation(tmp_path: Path) -> None:
    def address(**changes: object) -> tuple[str, str]:
        request = RunRequest(method="disa", profile="smoke", runs=tmp_path, changes=changes)
        return request.run().address, request.load().protocol.digest()

    plain, trained, judged = address(), address(**{"train.lr": 1e-3}), address(**{"protocol.overlap": 0.5})
    assert (plain[0] != trained[0], plain[1] == trained[1]) == (True, True)
    assert (plain[0] == judged[0], plain[1] != judged[1]) == (True, True)


def test_a_table_and_a_search_are_made_with_them(tmp_path: Path) -> None:
    from repro.api.tables import open_table
    from repro.api.trials import open_searches
    from repro.reports.tables.sheet import plan_remarks

    asked = {"profile": "smoke", "runs": tmp_path, "changes": {"train.lr": 1e-3}}
    plan = open_table(TableRequest(table="table1", methods=["disa"], **asked)).plan  # type: ignore[arg-type]
    assert {run.train.lr for run in plan.runs if run.train} == {1e-3}
    assert "train.lr = 0.001" in plan_remarks(plan)[-1]
    (search,) = open_searches(TuneRequest(methods=["disa"], trials=1, **asked))  # type: ignore[arg-type]
    assert search.trials[0].values["lr"] == 1e-3
    assert "train.lr = 0.001" in search.facts()["space"]


def test_the_command_that_an_error_names_holds_them(tmp_path: Path) -> None:
    request = RunRequest(method="disa", profile="smoke", runs=tmp_path, changes={"train.amp": "bf16"})
    assert "--set train.amp=bf16" in request.command("train", request.run())


def test_a_profile_builds_on_one_of_the_project_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("_base_ = 'mini'\nname = 'own'\ntrain = dict(iterations=7)\n")
    own, mini = load_profile(str(path)), load_profile("mini")
    assert (own.name, own.train.iterations, own.train.lr) == ("own", 7, mini.train.lr)
    assert own.towers == mini.towers
    beside = tmp_path / "second.py"
    beside.write_text("_base_ = ['own.py']\nname = 'second'\n")
    assert load_profile(str(beside)).train.iterations == 7
    path.write_text("_base_ = 'minni'\nname = 'own'\n")
    load_profile.cache_clear()
    with pytest.raises(UsageError, match="did you mean mini"):
        load_profile(str(path))
