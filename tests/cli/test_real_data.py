"""Evaluation on real photographs in the benchmarks' own formats, from a folder that may only be read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from repro.cli.main import main


def tree(folder: Path) -> set[str]:
    return {str(Path(top) / name) for top, _, files in os.walk(folder) for name in files}


@pytest.mark.parametrize(
    ("split", "images"),
    [(None, {"A-150": 9, "PAS-20": 19, "PAS-20b": 19}), ("train", {"A-847": 3, "A-150": 7, "PAS-20": 4, "PAS-20b": 4})],
)
def test_every_set_the_folder_has_is_evaluated_and_nothing_is_written_there(
    split: str | None, images: dict[str, int], photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = tree(photographs)
    words = [
        "eval",
        "clip",
        "--profile",
        "smoke",
        "--data-root",
        str(photographs),
        "--runs",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    assert main([*words, "--json", *(["--split", split] if split else [])]) == 0
    out = capsys.readouterr()
    rows = json.loads(out.out)
    assert {r["benchmark"]: r["num_images"] for r in rows} == images
    assert not any(r["complete"] for r in rows)
    assert "skipped PC-59" in out.err
    assert str(tmp_path) not in "".join(line for line in out.err.splitlines() if "skipped" in line)
    assert tree(photographs) == before


def test_figures_of_untrained_weights_are_called_meaningless(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["eval", "catseg", "--profile", "smoke", "--weights", "none", "--benchmarks", "A-150", "--device", "cpu"]
    assert main([*words, "--data-root", str(photographs), "--runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "no benchmark result" in text
    assert "not trained" in text


def test_a_folder_without_any_set_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    words = ["eval", "clip", "--profile", "smoke", "--data-root", str(tmp_path / "empty")]
    assert main([*words, "--runs", str(tmp_path / "runs")]) == 3
    assert "no benchmark has data" in capsys.readouterr().err


def test_weights_of_another_method_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import torch

    path = tmp_path / "other.pth"
    torch.save({"format": 1, "method": "other", "state": {"a": torch.zeros(1)}}, path)
    words = ["eval", "catseg", "--profile", "smoke", "--weights", str(path), "--runs", str(tmp_path / "runs")]
    assert main([*words, "--benchmarks", "PAS-20", "--device", "cpu"]) == 4
    error = capsys.readouterr().err
    assert "repro: error:" in error
    assert "Traceback" not in error
