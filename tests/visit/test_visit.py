"""A visit to a GPU runs through on a CPU, without the packages that a GPU machine may lack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.cli.main import main
from repro.cost.machine import machine_facts
from repro.errors import RunError, UsageError
from repro.reports.visit import memory_table, steps_table
from repro.visit.running import VisitRequest, slug, visit
from repro.visit.sections import Visit

ABSENT = ("mmengine", "mmcv", "mmseg", "cv2", "fvcore", "tensorboard", "submitit", "spacy", "jinja2")
WITHOUT = f"import sys, runpy; sys.modules.update(dict.fromkeys({ABSENT!r})); sys.argv = sys.argv[1:]; "
RUN = WITHOUT + "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"


def without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` without the absent packages and without a GPU."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", RUN, module, *arguments]
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gpu")
    done = without("repro", "bench", "--visit", "--device", "cpu", "--quick", "--results", str(out))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return out


def test_every_section_is_written_with_its_machine(folder: Path):
    found = json.loads((folder / "gpu.json").read_text())
    assert found["machine"]["kind"] == "CPU"
    assert {"correctness", "table2", "speedups", "training", "memory", "scaling"} <= found.keys()
    assert found["left_out"] == {name: [] for name in found["seconds"]}
    methods = {r["method"] for r in found["table2"]}
    assert {"clip", "catseg", "disa", "logoseg", "synseg"} <= methods
    assert {r["method"] for r in found["correctness"] if r["passed"]} == methods
    for name in ("README.md", "table2.md", "table2.csv", "scaling.md", "speedups.md", "scaling_figure.svg"):
        assert (folder / name).stat().st_size > 0


def test_what_a_cpu_cannot_do_is_named_and_stops_nothing(folder: Path):
    rows = json.loads((folder / "gpu.json").read_text())["speedups"]
    states = {(r["method"], r["precision"]): r for r in rows}
    assert states["disa", "float32, CUDA graphs"]["status"] == "failed"
    assert "need a GPU" in states["disa", "float32, CUDA graphs"]["error"]
    assert states["disa", "float32"]["same_arg_max"] == 1.0
    assert 0.5 < states["disa", "bf16"]["same_arg_max"] <= 1.0


def test_steps_are_timed_with_and_without_deterministic_kernels(folder: Path):
    rows = json.loads((folder / "gpu.json").read_text())["training"]
    trained = {"catseg", "disa", "logoseg", "synseg"}
    for deterministic in (False, True):
        some = {r["method"]: r for r in rows if r["deterministic"] == deterministic}
        assert some.keys() == trained
        for row in some.values():
            assert row["status"] == "done", row
            assert row["same_bits"]  # on a CPU
            assert row["losses"][0] == row["losses"][1]
    # On a CPU deterministic kernels are the usual ones; where memory is aligned otherwise, sums run in another order.
    losses = {d: {r["method"]: r["losses"][0] for r in rows if r["deterministic"] == d} for d in (False, True)}
    assert losses[False] == pytest.approx(losses[True], rel=1e-6)
    assert "| CAT-Seg | tiny | 2 x 48, 4 |" in (folder / "README.md").read_text()


def test_memory_is_measured_for_drawn_and_for_encoded_names(folder: Path):
    rows = json.loads((folder / "gpu.json").read_text())["memory"]
    assert [r["case"] for r in rows] == ["5 classes", "5 names, encoded here"]
    assert all(r["status"] == "done" and r["peak_memory_mib"] >= r["before_mib"] for r in rows)


@pytest.mark.parametrize("name", ["training", "memory"])
def test_parts_with_a_process_of_their_own_need_no_more_packages(name: str, tmp_path: Path):
    out = tmp_path / "records.json"
    done = without(f"repro.visit.{name}", "--device", "nowhere", "--quick", "--out", str(out))
    said = done.stderr + (out.read_text() if out.exists() else "")
    assert "device type at start of device string: nowhere" in said  # all is imported by then
    assert "ModuleNotFoundError" not in said


def test_a_kernel_without_a_deterministic_form_is_named_in_the_table():
    about = {"method": "m", "title": "M", "clip": "B", "classes": 4, "batch": 2, "crop": 48}
    fast = {**about, "deterministic": False, "status": "done", "median": 0.1, "same_bits": False, "peak_memory_mib": 10}
    exact = {**fast, "deterministic": True, "median": 0.15, "same_bits": True, "peak_memory_mib": 2000}
    failed = {**about, "deterministic": True, "status": "failed", "error": "no kernel for cumsum"}
    table = "\n".join(steps_table([fast, exact]))
    assert "| M | B | 2 x 48, 4 | 100.0 | no | 10 | 150.0 | +50% | yes | 2,000 |" in table
    table = "\n".join(steps_table([fast, failed]))
    assert "| M | B | 2 x 48, 4 | 100.0 | no | 10 | not possible |  |  |  |" in table
    assert "M, deterministic: no kernel for cumsum" in table
    assert "| M | B | 2 x 48, 4 | 100.0 | no | 10 |  |  |  |  |" in "\n".join(steps_table([fast]))


def test_an_exceeded_memory_budget_is_said():
    row = {"title": "M", "clip": "B", "case": "c", "budget_mib": 4096, "above_mib": 5000.0, "passed": False}
    assert "| M | B | c | 5,000 | 4,096 | EXCEEDED |" in "\n".join(memory_table([row]))


def test_a_quick_run_says_that_its_timings_mean_nothing(folder: Path):
    assert "no timing here means anything" in (folder / "README.md").read_text()


def quick(folder: Path, **more: Any) -> VisitRequest:
    return VisitRequest("cpu", quick=True, sections=("table2",), budget_s=0, results=folder, **more)


@pytest.mark.follows("repro.visit.running:visit#1")
def test_without_a_gpu_one_clear_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "--visit"]) == 5
    said = capsys.readouterr().err
    assert "needs a GPU" in said
    assert "repro bench --visit --device cpu --quick" in said


def test_a_spent_budget_leaves_out_and_says_what(tmp_path: Path):
    assert visit(quick(tmp_path))
    assert json.loads((tmp_path / "gpu.json").read_text())["left_out"]["table2"]
    assert "Left out for want of time" in (tmp_path / "README.md").read_text()


@pytest.mark.follows("repro.visit.running:resumed")
def test_a_later_visit_adds_its_sections_and_another_machine_is_refused(folder: Path, tmp_path: Path):
    before = json.loads((folder / "gpu.json").read_text())
    (tmp_path / "gpu.json").write_text(json.dumps({**before, "machine": machine_facts("cpu")}))
    assert visit(quick(tmp_path))
    after = json.loads((tmp_path / "gpu.json").read_text())
    assert after["training"] == before["training"]
    assert after["table2"] == []  # no time for it now
    assert "## Training steps" in (tmp_path / "README.md").read_text()
    (tmp_path / "gpu.json").write_text(json.dumps({**after, "machine": {**after["machine"], "driver": "1.2"}}))
    with pytest.raises(UsageError, match="another machine"):
        visit(quick(tmp_path))
    assert json.loads((tmp_path / "gpu.json").read_text())["training"] == before["training"]
    assert visit(quick(tmp_path / "another"))  # what the message says


@pytest.mark.follows("repro.visit.running:visit#2")
def test_an_unknown_section_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["bench", "--visit", "--device", "cpu", "--quick", "--sections", "trainings"]
    assert main([*words, "--results", str(tmp_path / "x")]) == 2
    assert "training" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.follows("repro.visit.sections:Visit._beside")
def test_a_part_that_fails_is_named_with_the_command_that_shows_why():
    with pytest.raises(RunError, match="section memory ended with exit code 1") as raised:
        Visit("nowhere", quick=True, budget_s=60).memory()
    assert raised.value.mend == "python -m repro.visit.memory --device nowhere --out records.json --quick"


def test_results_go_to_a_folder_of_the_device():
    assert slug("NVIDIA H200") == "h200"
    assert slug("AMD EPYC, 1 threads") == "amd-epyc"
