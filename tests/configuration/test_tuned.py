"""What a profile runs is what was chosen, where the file of the choice is there; and what a caller asks for wins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from repro.configuration.profiles import Profile, load_profile, profile_names
from repro.configuration.tables import load_table
from repro.errors import UsageError
from repro.methods.options import loss_weights
from repro.paths import CONFIGS, MEASURED
from repro.reports.tuning import FILE, read_tuning, weights_of
from repro.requests import RunRequest, TableRequest

PROFILE = "mini"


def disagreements(path: Path, profile: str = PROFILE) -> list[str]:
    """Return what the profile runs otherwise than the chosen rows of ``path`` say, a line each."""
    chosen = [row for row in read_tuning(path) if row["chosen"]]
    names = [row["method"] for row in chosen]
    found = [f"{name}: {names.count(name)} choices" for name in dict.fromkeys(names) if names.count(name) > 1]
    for row in chosen:
        run = RunRequest(profile=profile, method=row["method"]).run()
        assert run.train is not None
        says = {name: float(row[name]) for name in ("lr", "weight_decay")} | weights_of(row["loss_weights"])
        runs = {name: getattr(run.train, name) for name in ("lr", "weight_decay")} | loss_weights(run.options)
        found += [f"{row['method']}: {k} {runs.get(k)}, chosen {says.get(k)}" for k in {**says, **runs}
                  if says.get(k) != runs.get(k)]  # fmt: skip
    return found


def test_the_miniature_runs_what_was_chosen() -> None:
    path = MEASURED / PROFILE / FILE
    if not path.is_file():
        pytest.skip(f"results/measured/{PROFILE}/{FILE} is not made yet: the rates are those of an earlier choice")
    assert disagreements(path) == []
    assert FILE in load_profile(PROFILE).tuned  # tables name the file


def _rows(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / FILE
    names = ("method", "lr", "weight_decay", "loss_weights", "chosen")
    path.write_text("\n".join([",".join(names), *(",".join(row[n] for n in names) for row in rows)]) + "\n")
    return path


def test_a_disagreement_is_found(tmp_path: Path) -> None:
    disa = {
        "method": "disa",
        "lr": "0.002",
        "weight_decay": "0.0001",
        "loss_weights": "itm_weight=0.1",
        "chosen": "yes",
    }
    profile = tmp_path / "own.py"
    base = str((CONFIGS / "profiles" / "mini.py").resolve())
    profile.write_text(f"_base_ = [{base!r}]\nname = 'own'\ntrain_overrides = dict(disa=dict(lr=0.002))\n")
    assert disagreements(_rows(tmp_path, disa), str(profile)) == []
    assert disagreements(_rows(tmp_path, disa, {**disa, "lr": "1", "chosen": ""}), str(profile)) == []
    for change, said in (
        ({"lr": "0.003"}, "lr 0.002, chosen 0.003"),
        ({"weight_decay": "0.1"}, "weight_decay 0.0001, chosen 0.1"),
        ({"loss_weights": "itm_weight=0.2"}, "itm_weight 0.1, chosen 0.2"),
        ({"loss_weights": ""}, "itm_weight 0.1, chosen None"),
    ):
        assert disagreements(_rows(tmp_path, {**disa, **change}), str(profile)) == [f"disa: {said}"]
    assert disagreements(_rows(tmp_path, disa, disa), str(profile)) == ["disa: 2 choices"]


@pytest.mark.parametrize("profile", profile_names())
def test_a_profile_whose_numbers_mean_something_says_how_it_was_tuned(profile: str) -> None:
    assert bool(load_profile(profile).tuned) == (profile != "smoke")


def test_what_the_caller_asks_of_a_training_wins_over_the_profile(tmp_path: Path) -> None:
    def settings(**training: Any) -> Any:
        return RunRequest(profile=PROFILE, method="disa", runs=tmp_path, training=training).run().train

    own = load_profile(PROFILE).train_settings("disa")
    assert own.lr != load_profile(PROFILE).train.lr  # it has a rate of its own
    assert settings().lr == settings(iterations=7).lr == own.lr
    assert settings(lr=0.5).lr == 0.5
    assert settings(lr=0.5).weight_decay == own.weight_decay
    plan = TableRequest(table="table1", profile=PROFILE, runs=tmp_path).narrow(
        load_table("table1"), load_profile(PROFILE), overrides={"lr": 0.5}
    )
    assert {run.train.lr for run in plan.runs if run.train} == {0.5}


def test_a_profile_says_what_is_searched(tmp_path: Path) -> None:
    base = str((CONFIGS / "profiles" / "mini.py").resolve())
    path = tmp_path / "own.py"
    path.write_text(f"_base_ = [{base!r}]\nname = 'own'\ntuning = dict(lr=[0.5, 2])\n")
    assert load_profile(str(path)).tuning.lr == (0.5, 2.0)
    assert load_profile(str(path)).tuning.weight_decay == load_profile(PROFILE).tuning.weight_decay
    for number, wrong in enumerate(("lr=[2, 0.5]", "rate=[1, 2]", "lr=1")):
        broken = tmp_path / f"broken{number}.py"
        shutil.copy(path, broken)
        broken.write_text(path.read_text().replace("lr=[0.5, 2]", wrong))
        with pytest.raises(UsageError, match="not complete or has an unknown key"):
            load_profile(str(broken))


def test_a_table_says_how_what_is_trained_was_tuned(tmp_path: Path) -> None:
    from repro.reports.tables.sheet import plan_remarks

    def remarks(profile: Profile, *methods: str) -> list[str]:
        table = load_table("table1")
        return plan_remarks(TableRequest(runs=tmp_path, methods=methods).narrow(table, profile))

    assert remarks(load_profile("mini"), "clip", "disa")[-1] == f"Tuning: {load_profile('mini').tuned}."
    assert not any(r.startswith("Tuning") for r in remarks(load_profile("mini"), "clip"))
    assert not any(r.startswith("Tuning") for r in remarks(load_profile("smoke"), "disa"))
