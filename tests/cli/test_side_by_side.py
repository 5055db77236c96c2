"""One run per core: when a table's runs are computed side by side without being told so, and that they all are."""

from __future__ import annotations

import argparse
import types
from pathlib import Path
from typing import Any

import pytest

from repro.cli import launching
from repro.cli.main import main


def _plan(**profile: Any) -> Any:
    return types.SimpleNamespace(profile=types.SimpleNamespace(**{"one_run_per_core": True, **profile}))


def _options(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"only": None, "device": "cpu", "max_parallel": 0, **changes})


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores, 12 GiB free, no launcher."""
    monkeypatch.setattr(launching, "cpu_count", lambda: 4)
    monkeypatch.setattr(launching, "free_memory_gib", lambda: 12.5)
    monkeypatch.setattr(launching.ranks, "started", lambda: 1)


@pytest.mark.parametrize(("runs", "memory", "count"), [(7, 12.5, 4), (3, 12.5, 3), (7, 6.9, 3), (7, 5.0, 2)])
def test_runs_are_as_many_as_cores_runs_and_memory_allow(
    runs: int, memory: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "free_memory_gib", lambda: memory)
    how = launching.side_by_side(_options(), _plan(), runs)
    assert how is not None
    assert (how.launcher, how.max_parallel, how.gpus) == ("local", count, ())


@pytest.mark.parametrize(("asked", "runs", "count"), [(3, 7, 3), (9, 7, 7), (2, 1, 0), (1, 7, 0)])
@pytest.mark.parametrize("small", [True, False])
def test_as_many_as_the_user_says_whatever_the_profile(asked: int, runs: int, count: int, small: bool) -> None:
    how = launching.side_by_side(_options(max_parallel=asked), _plan(one_run_per_core=small), runs)
    assert (how.max_parallel if how else 0) == count


def test_otherwise_the_command_computes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = launching.side_by_side
    assert alone(_options(), _plan(one_run_per_core=False), 7) is None
    assert alone(_options(only="run"), _plan(), 7) is None
    assert alone(_options(), _plan(), 1) is None
    monkeypatch.setattr(launching, "free_memory_gib", lambda: 3.9)
    assert alone(_options(), _plan(), 7) is None
    monkeypatch.setattr(launching, "free_memory_gib", lambda: 12.5)
    monkeypatch.setattr(launching, "choose_device", lambda name: "cuda")
    assert alone(_options(device="auto"), _plan(), 7) is None
    monkeypatch.setattr(launching, "choose_device", lambda name: "cpu")
    monkeypatch.setattr(launching.ranks, "started", lambda: 2)
    assert alone(_options(), _plan(), 7) is None


def test_a_table_is_computed_by_a_job_per_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "many.py"
    smoke = Path(launching.__file__).parents[2] / "configs" / "profiles" / "smoke.py"
    profile.write_text(f"_base_ = [{str(smoke)!r}]\nname = 'many'\none_run_per_core = True\n")
    words = ["run", "table1", "--profile", str(profile), "--methods", "clip,catseg", "--benchmarks", "PAS-20"]
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), "--device", "cpu"]
    assert main([*words, *folders]) == 0
    said = capsys.readouterr().err
    assert "2 jobs" in said
    assert said.count("1 of 1 cells done") == 2
    assert (tmp_path / "results" / "table1.csv").is_file()
    assert main([*words, *folders]) == 0  # nothing is left to compute
    assert "jobs" not in capsys.readouterr().err
