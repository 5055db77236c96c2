"""Long names of images given to ``repro predict``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.cli.main import main

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def words(tmp_path: Path, *more: str) -> list[str]:
    place = ["--image", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    return [
        "predict",
        "--method",
        "clip",
        "--profile",
        "smoke",
        "--device",
        "cpu",
        "--classes",
        "cat,dog",
        *place,
        *more,
    ]


def photos(tmp_path: Path, *stems: str) -> None:
    (tmp_path / "photos").mkdir()
    for stem in stems:
        Image.fromarray(NOISE).save(tmp_path / "photos" / f"{stem}.png")


def states(text: str) -> dict[str, str]:
    return {Path(i["image"]).stem[-1]: i["status"] for i in json.loads(text)["images"]}


def test_a_long_name_is_written_where_its_outputs_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = "a" * 236  # 240 characters with its ending; the longest output has 254
    photos(tmp_path, stem, "b")
    assert main(words(tmp_path, "--save-probs", "--json")) == 0
    assert states(capsys.readouterr().out) == {"a": "written", "b": "written"}
    endings = (".json", "_label.png", "_overlay.png", "_probabilities.npz")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {s + e for s in (stem, "b") for e in endings}
    assert main(words(tmp_path, "--save-probs", "--json")) == 0
    assert states(capsys.readouterr().out) == {"a": "finished", "b": "finished"}


def test_scores_that_are_not_asked_for_do_not_make_a_name_too_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(tmp_path, "a" * 243, "b")  # _overlay.png makes 255
    assert main(words(tmp_path, "--json")) == 0
    assert states(capsys.readouterr().out) == {"a": "written", "b": "written"}
    assert main(words(tmp_path, "--save-probs", "--json")) == 1
    assert states(capsys.readouterr().out) == {"a": "failed", "b": "written"}


def test_a_name_that_fits_no_output_fails_alone_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos(tmp_path, "a" * 250, "b")
    assert main(words(tmp_path, "--json")) == 1
    out = capsys.readouterr()
    assert states(out.out) == {"a": "failed", "b": "written"}
    assert "is too long" in out.err
    assert "260 bytes" in out.err
    assert "Traceback" not in out.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b.json", "b_label.png", "b_overlay.png"]
    (tmp_path / "photos" / "b.png").unlink()
    assert main(words(tmp_path)) == 2
    assert capsys.readouterr().err.count("is too long") == 1
