"""The commands with --launcher as a user gives them, on the smallest profile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repro.cli.main import main

pytest.importorskip("mmseg")
BENCHMARKS = ["PAS-20", "PC-59"]


def words(folder: Path, *more: str) -> list[str]:
    chosen = ["run", "table1", "--profile", "smoke", "--methods", "clip,catseg", "--benchmarks", ",".join(BENCHMARKS)]
    return [*chosen, "--runs", str(folder / "runs"), "--results", str(folder / "results"), "--device", "cpu", *more]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both runs made side by side; the first job to need the data and the tower makes them, the other waits."""
    folder = tmp_path_factory.mktemp("made")
    assert main(words(folder, "--launcher", "local", "--max-parallel", "2")) == 0
    return folder


def counts(runs: Path, benchmark: str) -> dict[str, Any]:
    with np.load(next(runs.glob(f"catseg-*/eval/{benchmark}/counts.npz"))) as stored:
        return {name: stored[name] for name in stored}


@pytest.mark.slow
def test_runs_side_by_side_make_the_table_and_a_torn_label_is_a_row_with_its_reason(made, tmp_path, capsys):
    assert (made / "results" / "table1.md").is_file()
    shutil.copytree(made, tmp_path / "copy")
    for folder in (tmp_path / "copy" / "runs").glob("catseg-*/eval/*"):
        shutil.rmtree(folder)
    mask = sorted((tmp_path / "copy" / "runs" / "cache" / "data").glob("*/VOC*/**/pc59_val/*"))[0]
    whole = mask.read_bytes()
    mask.write_bytes(whole[:40])
    launch = ["--launcher", "local", "--max-parallel", "2", "--json"]
    capsys.readouterr()
    assert main(words(tmp_path / "copy", *launch)) == 1
    cells = {(c["method"], c["benchmark"]): c for c in json.loads(capsys.readouterr().out)}
    assert [key for key, c in cells.items() if c["status"] != "done"] == [("catseg", "PC-59")]
    assert mask.name in cells["catseg", "PC-59"]["error"]
    mask.write_bytes(whole)
    assert main(words(tmp_path / "copy", *launch)) == 0
    assert {c["status"] for c in json.loads(capsys.readouterr().out)} == {"done"}


@pytest.mark.long
def test_two_processes_count_what_one_counted_and_train_what_one_trained(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    runs = tmp_path / "copy" / "runs"
    original = {b: counts(runs, b) for b in BENCHMARKS}
    for folder in runs.glob("catseg-*/eval/*"):
        shutil.rmtree(folder)
    assert main(words(tmp_path / "copy", "--launcher", "torchrun", "--gpus", "2")) == 0
    for benchmark in BENCHMARKS:
        again = counts(runs, benchmark)
        assert all(np.array_equal(original[benchmark][k], again[k]) for k in again)

    one = next((made / "runs").glob("catseg-*"))
    shutil.rmtree(next(runs.glob("catseg-*")))
    train = ["train", "catseg", "--profile", "smoke", "--runs", str(runs), "--device", "cpu"]
    assert main([*train, "--launcher", "torchrun", "--gpus", "2"]) == 0
    two = runs / one.name
    curves = [[json.loads(line)["loss"] for line in (f / "losses.jsonl").read_text().splitlines()] for f in (one, two)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
    assert json.loads((two / "provenance.json").read_text())["placement"]["processes"] == 2


@pytest.mark.slow
def test_the_exit_code_of_processes_is_that_of_the_command(tmp_path, capfd):
    train = ["train", "catseg", "--profile", "smoke", "--runs", str(tmp_path), "--device", "cpu", "-o", "windw=3"]
    assert main([*train, "--launcher", "torchrun", "--gpus", "2"]) == 2
    assert "unknown option of method catseg 'windw'" in capfd.readouterr().err
