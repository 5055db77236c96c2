"""``repro eval --measures``: figures of the masks beside those of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.metrics.measured import counted_measures
from repro.metrics.seen import class_exposure


def evaluated(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    words = ["eval", "clip", "--profile", "smoke", "--benchmarks", "PC-59", "--device", "cpu", "--runs", str(folder)]
    capsys.readouterr()
    assert main([*words, "--json", *more]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    return dict(row)


def test_seen_classes_need_no_measuring_and_their_mean_is_that_of_the_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = evaluated(tmp_path, capsys, "--measures", "seen")
    assert not list(Path(row["folder"]).glob("measures/*"))
    classes = json.loads((Path(row["folder"]) / "metrics.json").read_text())["per_class"]
    exposure = class_exposure(get_benchmark("PC-59"))
    for part in ("seen", "unseen"):
        ious = [c["iou"] for c, e in zip(classes, exposure, strict=True) if e == part and c["ground_truth"]]
        assert row[f"miou_{part}"] == (pytest.approx(sum(ious) / len(ious)) if ious else None)
    assert row["miou_seen"] is not None
    again = evaluated(tmp_path, capsys, "--measures", "seen,size")
    assert {k: again[k] for k in row} == row
    assert again["recall_large"] is not None


def test_what_follows_from_counts_is_known_and_not_counted() -> None:
    assert counted_measures(["seen", "size", "seen", "bias"]) == ("size", "bias")
