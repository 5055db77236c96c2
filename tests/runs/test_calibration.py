"""``--dry-run`` predicts evaluations from a few images through the real loop."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.datasets.benchmarks import get_benchmark
from repro.runs import calibration
from repro.runs.plan import Plan, make_plan
from repro.runs.status import evaluation_seconds

A150 = get_benchmark("A-150")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """CAT-Seg on A-150 with data that is only said to be there."""
    plan = make_plan(
        load_table("table1"), load_profile("smoke"), tmp_path, methods=["catseg"], benchmarks=["A-150"], seeds=[0, 1]
    )
    monkeypatch.setattr(plan.assets, "ensure_data", lambda log: None)
    return plan


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every measurement takes half a second an image and is noted here."""
    found: list[str] = []

    def measured(_method: Any, benchmark: Any, pairs: Any, *_: Any) -> float:
        assert len(pairs) == calibration.MORE
        found.append(benchmark.id)
        return 0.5

    monkeypatch.setattr(calibration, "seconds_per_image", measured)
    return found


def calibrate(plan: Plan) -> None:
    calibration.calibrate(plan, "cpu", lambda _: None)


def test_an_evaluation_is_predicted_from_seconds_an_image(plan: Plan, asked: list[str]):
    run = plan.runs[0]
    assert evaluation_seconds(run, A150) is None
    calibrate(plan)
    assert evaluation_seconds(run, A150) == 0.5 * 2000  # the data are not there: the published number of images
    found = calibration.calibrated(run, "A-150")
    assert found is not None
    assert "threads" in found["hardware"]


def test_seeds_share_a_calibration_and_nothing_is_measured_twice(plan: Plan, asked: list[str]):
    calibrate(plan)
    calibrate(plan)
    assert asked == ["A-150"]
    assert evaluation_seconds(plan.runs[1], A150) == 1000


def test_another_protocol_is_another_calibration(plan: Plan, asked: list[str]):
    calibrate(plan)
    run = plan.runs[0]
    profile = dataclasses.replace(run.profile, protocol=dataclasses.replace(run.profile.protocol, canvas=112))
    assert calibration.calibrated(dataclasses.replace(run, profile=profile), "A-150") is None


@pytest.mark.parametrize(
    ("first", "each", "expected"),
    [(0.0, 0.5, 0.5), (0.8, 0.5, 0.5), (0.0, 3.0, 3.0)],
)
def test_filling_the_pipeline_is_not_charged_to_every_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: float, each: float, expected: float
):
    counts = []

    def evaluate(_method: Any, _benchmark: Any, pairs: Any, *_: Any, **__: Any) -> Any:
        counts.append(len(pairs))
        return SimpleNamespace(record={"seconds": {"total": first + each * len(pairs)}})

    monkeypatch.setattr("repro.evaluation.evaluate.evaluate", evaluate)
    run: Any = SimpleNamespace(profile=SimpleNamespace(protocol=None))
    pairs: Any = list(range(calibration.MORE))
    method: Any = None
    assert calibration.seconds_per_image(method, A150, pairs, run, tmp_path, "cpu") == pytest.approx(expected)
    assert counts == ([1, 2] if each > calibration.SLOW_S else [1, 2, 8])


def test_calibrating_is_part_of_a_dry_run_only(tmp_path: Path):
    words = ["run", "table1", "--profile", "smoke", "--methods", "clip", "--runs", str(tmp_path / "runs")]
    assert main([*words, "--calibrate"]) == 2
    assert not (tmp_path / "runs").exists()
