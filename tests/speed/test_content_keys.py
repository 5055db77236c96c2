"""What it costs to know data by their content, against an evaluation of the same images (docs/performance.md)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pytest_benchmark")

from in_turn import Seconds, least_seconds, turn_of

from repro.datasets import contents
from repro.datasets.contents import Contents
from repro.datasets.layout import Pair
from repro.datasets.verify.fingerprint import pairs_digest
from repro.datasets.writing import write_picture

IMAGES = 60
JPEG_BYTES = 90_000
"""An image of ADE20K with a shorter side of 512."""
TIMES_PLAIN = 3


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


def test_a_key_read_for_the_first_time_is_the_reading_of_the_files_and_little_more(pairs, tmp_path, benchmark) -> None:
    """Against SHA-256 of the files, which an evaluation decodes besides; a remembered key is a tenth of the first."""
    index = tmp_path / "cache" / "contents" / "index.json"

    def first() -> None:
        index.unlink(missing_ok=True)
        pairs_digest(pairs, Contents(index))

    def plain() -> None:
        for pair in pairs:
            for path in (pair.image, pair.label):
                hashlib.sha256(path.read_bytes()).digest()

    works = {"first": first, "again": lambda: pairs_digest(pairs, Contents(index)), "plain": plain}
    found = least_seconds(benchmark, turn_of(works), holds, rounds=5)
    benchmark.extra_info["ms_an_image"] = round(1000 * found["first"] / IMAGES, 2)


def holds(s: Seconds) -> bool:
    return s["first"] < TIMES_PLAIN * s["plain"] and s["again"] < s["first"] / 10
