"""Counts that follow from a recipe are taken once; another recipe or other code is counted again."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.runs.counted import counted
from repro.runs.plan import Run, make_plan

ROOT = "repro.cost.estimate:estimate_training"


@dataclasses.dataclass(frozen=True)
class Count:
    number: float


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return trained(tmp_path)[0]


def trained(store: Path) -> list[Run]:
    profile = load_profile("smoke")
    plan = make_plan(load_table("table1"), profile, store)
    return [r for r in plan.runs if r.train is not None]


def take(run: Run, value: float, **asked: int) -> float:
    return counted(run, ROOT, asked, Count, lambda: Count(value)).number


def test_a_count_is_kept_for_its_recipe(run: Run) -> None:
    assert [take(run, 1.0, batch=4), take(run, 2.0, batch=4), take(run, 3.0, batch=8)] == [1.0, 1.0, 3.0]
    assert take(trained(run.assets.store.root)[1], 4.0, batch=4) == 4.0


def test_a_damaged_count_and_one_of_other_code_are_taken_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    take(run, 1.0)
    (file,) = (run.assets.store.cache / "counts").iterdir()
    file.write_text("{", encoding="utf-8")
    assert take(run, 2.0) == 2.0
    file.write_text(json.dumps({"another": 1}), encoding="utf-8")
    assert take(run, 3.0) == 3.0
    assert take(run, 4.0) == 3.0
    assert counted(run, "repro.cost.estimate:count_inference", {}, Count, lambda: Count(5.0)).number == 5.0


@pytest.mark.slow
def test_the_second_plan_of_the_papers_recipe_imports_no_torch(tmp_path: Path) -> None:
    words = ["run", "table1", "--profile", "paper", "--data-root", str(tmp_path / "data"), "--runs", str(tmp_path)]
    code = (
        f"import sys\nfrom repro.cli.main import main\nmain({[*words, '--dry-run']!r})\nprint('torch' in sys.modules)"
    )
    shown = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert shown[0].endswith("True\n")
    assert shown[1].endswith("False\n")
    assert shown[0].splitlines()[:-1] == shown[1].splitlines()[:-1]
    assert "G multiply-adds a forward step (counted)" in shown[1]
