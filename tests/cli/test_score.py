"""``repro score`` beside ``repro eval --save-predictions`` and ``--limit``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from repro.cli.main import main

METRICS = ("miou_gt", "miou_union", "fwiou", "macc", "pacc", "boundary_iou", "recall_large")


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    capsys.readouterr()
    assert main([str(w) for w in words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_score_of_saved_predictions_is_the_evaluation_and_a_part_is_called_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, store = tmp_path / "saved", ("--runs", tmp_path / "runs", "--profile", "smoke")
    measures = ("--measures", "boundary,size", "--json")
    evaluate = ("eval", "clip", *store, "--device", "cpu", "--benchmarks", "A-847,PAS-20b", *measures)
    rows = answer(capsys, *evaluate, "--save-predictions", saved)
    assert {p.name for p in saved.iterdir()} == {"A-847", "PAS-20b"}
    for row in rows:
        scored = answer(capsys, "score", saved / row["benchmark"], "--benchmark", row["benchmark"], *store, *measures)
        assert {m: scored[m] for m in METRICS} == {m: row[m] for m in METRICS}

    (part,) = answer(
        capsys, *evaluate, "--benchmarks", "PAS-20b", "--limit", "1", "--save-predictions", tmp_path / "part"
    )
    assert (part["num_images"], part["part"], part["complete"]) == (1, "first 1 of 2 images", False)
    assert Path(part["folder"]) != Path(rows[1]["folder"])
    assert len(list((tmp_path / "part" / "PAS-20b").glob("*.png"))) == 1
    scored = answer(
        capsys, "score", tmp_path / "part" / "PAS-20b", "--benchmark", "PAS-20b", "--limit", "1", *store, *measures
    )
    assert {m: scored[m] for m in METRICS} == {m: part[m] for m in METRICS}
    assert answer(capsys, *evaluate) == rows
    words = ("score", saved / "PAS-20b", "--benchmark", "PAS-20b", "--limit", "1", *store, "--name", "SED, official")
    assert main([str(w) for w in words]) == 0
    text = capsys.readouterr().out
    assert text.startswith("SED, official: predictions of other code (label pictures), percent")
    assert "no benchmark result: they are of a part of the images (first 1 of 2 images)" in text
    assert "run sed-official-scored-" in text
