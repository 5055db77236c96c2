"""One failure of a row does not hide the others, and each says what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.cost.estimate import Estimate
from repro.errors import RunError
from repro.rehearsal import running
from repro.rehearsal.request import RehearsalRequest
from repro.rehearsal.row import Job, Report, failure, rehearse_row
from repro.rehearsal.running import describe_end, parts_that_fit
from repro.runs.plan import Plan, Run, make_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(
        load_table("table1"), load_profile("smoke"), tmp_path / "runs", methods=["catseg"],
        benchmarks=["PAS-20", "A-150"],
    )  # fmt: skip


def rehearsed(plan: Plan, folder: Path) -> dict[str, Any]:
    """Rehearse the row in this process on drawn images."""
    request = RehearsalRequest("table1", "smoke", methods=["catseg"], steps=1, images=1, runs=folder / "runs")
    report = Report(folder / "report.json")
    job = Job(request.to_json(), "catseg-base", "cpu", None, 1, 8.0)
    rehearse_row(plan, plan.runs[0], job, folder, report)
    return report.values


def test_without_data_images_of_the_usual_size_are_drawn_and_called_so(plan: Plan, tmp_path: Path) -> None:
    found = rehearsed(plan, tmp_path)
    assert found["errors"] == []
    assert found["training"]["data"] == "drawn"
    assert {b: (f["data"], f["classes"]) for b, f in found["images"].items()} == {
        "PAS-20": ("drawn", 20),
        "A-150": ("drawn", 150),
    }


def test_what_raises_in_one_part_is_noted_and_the_others_go_on(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.evaluation import evaluate as module

    real = module.evaluate

    def broken(method: Any, benchmark: Any, *given: Any, **more: Any) -> Any:
        if benchmark.id == "PAS-20":
            raise ZeroDivisionError("by nothing")
        return real(method, benchmark, *given, **more)

    def refused(*_: Any, **__: Any) -> Any:
        raise RunError("the loss is not finite", found="NaN", mend="choose a lower rate")

    monkeypatch.setattr(module, "evaluate", broken)
    monkeypatch.setattr("repro.training.train.train", refused)
    found = rehearsed(plan, tmp_path)
    assert [(e["part"], e["kind"], e["mend"]) for e in found["errors"]] == [
        ("training", "known", "choose a lower rate"),
        ("PAS-20", "defect", None),
    ]
    assert found["errors"][0]["error"] == "the loss is not finite (NaN)"
    assert found["errors"][1]["error"].startswith("ZeroDivisionError in test_row.py, line")
    assert list(found["images"]) == ["A-150"]
    assert found["training"] is None


def raised(error: Exception) -> Exception:
    """The error with the place it comes from."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RunError("diverged"), "known"),
        (KeyError("name"), "defect"),
    ],
)
def test_errors_are_told_apart(error: Exception, kind: str) -> None:
    assert failure(raised(error))["kind"] == kind


def of_size(_run: Run, settings: Any) -> Estimate:
    """Six GiB per image and nothing else, of which a training takes 1.2 times as much."""
    return Estimate(0, 0, 1.0, 6.0 * settings.batch_size)


@pytest.mark.parametrize(
    ("memory", "asked", "parts", "needed"),
    [(99.0, 0, 1, 28.8), (16.0, 0, 2, 14.4), (8.0, 0, 4, 7.2), (7.0, 0, 0, 7.2), (99.0, 2, 2, 14.4), (7.0, 2, 0, 14.4)],
)
def test_a_batch_is_divided_no_further_than_memory_demands(
    memory: float, asked: int, parts: int, needed: float, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "counted_training", of_size)
    run = plan.runs[0]
    profile = dataclasses.replace(run.profile, train=dataclasses.replace(run.profile.train, batch_size=4))
    run = dataclasses.replace(run, profile=profile)
    assert parts_that_fit(run, RehearsalRequest("table1", accumulate=asked), memory) == (parts, pytest.approx(needed))


def test_a_process_that_dies_is_described(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("one\nSegmentation fault\n")
    assert "ran out of memory" in describe_end(-9, "step 2 of 5", output)
    assert describe_end(139, "step 2 of 5", output).endswith("code 139 while step 2 of 5: Segmentation fault")


def test_a_row_in_too_little_memory_fails_alone(tmp_path: Path) -> None:
    """In a process of its own, whose limit is not ours."""
    request = RehearsalRequest(
        "table1",
        "smoke",
        methods=["clip"],
        benchmarks=["A-150"],
        images=1,
        memory_gib=0.05,
        runs=tmp_path,
        device="cpu",
    )
    found = running.rehearse(request)
    (row,) = found.rows
    assert row.errors or row.ended
    assert found.exit_code == 1
    assert found.findings
