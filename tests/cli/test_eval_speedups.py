"""``repro eval`` with faster passes: other numbers lie apart from the plain ones and say what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main


def evaluated(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    words = ["eval", "clip", "--profile", "smoke", "--benchmarks", "PAS-20", "--device", "cpu", "--runs", str(folder)]
    assert main([*words, *more, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    return dict(row)


def test_mixed_precision_lies_apart_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    plain = evaluated(tmp_path, capsys)
    half = evaluated(tmp_path, capsys, "--amp", "bf16", "--channels-last")
    assert (plain["precision"], half["precision"]) == ("float32", "bf16, channels-last")
    assert plain["run"] == half["run"]
    assert plain["folder"] != half["folder"]
    cell = json.loads((Path(half["folder"]) / "cell.json").read_text())
    assert cell["speedups"] == {"amp": "bf16", "channels_last": True}
    assert "speedups" not in json.loads((Path(plain["folder"]) / "cell.json").read_text())
    assert evaluated(tmp_path, capsys) == plain


def test_what_needs_a_gpu_is_refused_with_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["eval", "clip", "--profile", "smoke", "--benchmarks", "PAS-20", "--device", "cpu", "--runs", str(tmp_path)]
    assert main([*words, "--cuda-graphs"]) == 5
    assert "CUDA graphs need a GPU" in capsys.readouterr().err
