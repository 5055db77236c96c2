"""What it costs to know data by their content, against an evaluation of the same images (docs/performance.md)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from repro.benchmarks import contents
from repro.benchmarks.contents import Contents
from repro.benchmarks.fingerprint import pairs_digest
from repro.benchmarks.layout import Pair
from repro.benchmarks.prepare.formats import write_picture

IMAGES = 60
JPEG_BYTES = 90_000
"""An image of ADE20K with a shorter side of 512."""
SHARE = 0.02
FASTEST_S = 0.3
"""Seconds an image of the fastest evaluation measured here: zero-shot CLIP ViT-B/16 with one view of 512 pixels."""


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """Labels as A-847 has them, 16-bit TIFFs of 512 x 683 that are not compressed, and as many bytes as images have."""
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**15))
    (tmp_path / "cache").mkdir()
    rng = np.random.default_rng(0)
    found = []
    for number in range(IMAGES):
        image, label = tmp_path / f"{number}.jpg", tmp_path / f"{number}.tif"
        image.write_bytes(rng.bytes(JPEG_BYTES))
        write_picture(label, rng.integers(0, 847, (512, 683)).astype(np.uint16))
        found.append(Pair(str(number), image, label))
    return found


def key_seconds(pairs: list[Pair], index: Path) -> float:
    begun = time.perf_counter()
    pairs_digest(pairs, Contents(index))
    return time.perf_counter() - begun


def test_key_read_for_the_first_time(pairs, tmp_path, benchmark) -> None:
    index = tmp_path / "cache" / "contents" / "index.json"
    benchmark.pedantic(
        lambda: pairs_digest(pairs, Contents(index)), setup=lambda: index.unlink(missing_ok=True), rounds=5
    )
    assert benchmark.stats.stats.median / IMAGES < SHARE * FASTEST_S


def test_key_that_is_remembered(pairs, tmp_path, benchmark) -> None:
    index = tmp_path / "cache" / "contents" / "index.json"
    first = key_seconds(pairs, index)
    benchmark.pedantic(lambda: pairs_digest(pairs, Contents(index)), rounds=10)
    assert benchmark.stats.stats.median < first / 2
