"""``--measures``: a switch that computes what is missing and leaves every number where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repro.cli.main import main


def words(folder: Path, command: str, *more: str) -> list[str]:
    base = [command, "table1", "--profile", "smoke", "--runs", str(folder / "runs"), "--results", str(folder / "out")]
    return [*base, "--methods", "clip", "--benchmarks", "PAS-20b", *more]


def test_a_measure_switched_on_later_is_missing_then_done_beside_the_same_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(words(tmp_path, "run", "--device", "cpu")) == 0
    counts = next(tmp_path.glob("runs/*/eval/PAS-20b/counts.npz"))
    before = counts.read_bytes(), counts.with_name("metrics.json").read_bytes()

    def status() -> str:
        capsys.readouterr()
        assert main(words(tmp_path, "run", "--measures", "boundary,bias", "--dry-run", "--json")) == 0
        cells = json.loads(capsys.readouterr().out)
        return str(cells[0]["status"])

    assert status() == "missing"
    assert main(words(tmp_path, "run", "--device", "cpu", "--measures", "boundary,bias")) == 0
    assert status() == "done"
    assert (counts.read_bytes(), counts.with_name("metrics.json").read_bytes()) == before
    header = (tmp_path / "out" / "table1_cells.csv").read_text().splitlines()[0]
    assert "boundary_iou" in header
    assert "stuff_as_thing" in header

    # What follows from the counts is missing nowhere.
    assert main(words(tmp_path, "run", "--measures", "seen", "--dry-run", "--json")) == 0
    capsys.readouterr()
    assert main(words(tmp_path, "run", "--device", "cpu", "--measures", "seen,size")) == 0
    header = (tmp_path / "out" / "table1_cells.csv").read_text().splitlines()[0]
    assert {"miou_seen", "miou_unseen", "miou_small", "recall_large"} <= set(header.split(","))
    assert (counts.read_bytes(), counts.with_name("metrics.json").read_bytes()) == before

    capsys.readouterr()
    run = next(tmp_path.glob("runs/clip-*")).name
    paired = [
        "compare",
        run,
        run,
        "--runs",
        str(tmp_path / "runs"),
        "--metrics",
        "boundary_iou,stuff_as_thing,miou_seen,recall_large",
    ]
    assert main([*paired, "--json"]) == 0
    assert {r["p"] for r in json.loads(capsys.readouterr().out)["rows"]} == {1}


def test_an_unknown_measure_is_refused_before_anything_is_computed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(words(tmp_path, "run", "--measures", "edges")) == 2
    assert "unknown measure 'edges'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
