"""A few images of a set with their labels: prepared ones, ones made of the sources here, or drawn ones."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import numpy as np

from repro.datasets.benchmarks import Benchmark
from repro.datasets.layout import Pair, prepared_pairs
from repro.datasets.listing import SourcePair, Spelling
from repro.datasets.writing import write_picture
from repro.errors import DataError
from repro.runs.calibration import typical_size

Origin = Literal["real", "sources", "drawn"]
ORIGINS: dict[Origin, str] = {
    "real": "images of the set",
    "sources": "images of the set, not prepared yet",
    "drawn": "drawn images (none of the set is here)",
}
TRAIN_SIZE = (480, 640)
"""Height and width of most images of COCO."""
_BLOCK = 32
_SHADES = 24


def sample(
    benchmark: Benchmark, root: Path | None, count: int, folder: Path, split: str | None = None
) -> tuple[list[Pair], Origin]:
    """Return ``count`` images of ``split`` (default: the set's own) and where they come from; files go to ``folder``.

    Fewer images are repeated, each under a key of its own. Nothing is written below ``root``.
    """
    root = benchmark.root or root
    pairs: list[Pair] = []
    origin: Origin = "drawn"
    if root is not None:
        with contextlib.suppress(DataError):
            pairs, origin = prepared_pairs(benchmark, root, split), "real"
        if not pairs:
            pairs, origin = _of_sources(benchmark, root, count, folder, split), "sources"
    if not pairs:
        pairs, origin = (
            _drawn(benchmark, count, folder, TRAIN_SIZE if split == "train" else typical_size(benchmark)),
            "drawn",
        )
    chosen = [pairs[i * len(pairs) // count] for i in range(count)]
    return [Pair(f"{i}-{p.key}", p.image, p.label) for i, p in enumerate(chosen)], origin


def _of_sources(benchmark: Benchmark, root: Path, count: int, folder: Path, split: str | None) -> list[Pair]:
    """Make labels of at most ``count`` images from the files their owners distribute; none where there are none."""
    try:
        listed = sorted(benchmark.list_sources(root / benchmark.folder, benchmark.split(split)), key=lambda p: p.key)
    except DataError:
        return []
    spelling, found = Spelling(), []
    for source in listed:
        image, label = spelling(source.image), spelling(source.label)
        if image is None or label is None:
            continue
        with contextlib.suppress(DataError, ValueError):  # repro data prepare says what is wrong with it
            found.append(_converted(benchmark, SourcePair(source.key, image, label, source.note), folder))
        if len(found) == count:
            break
    return found


def _converted(benchmark: Benchmark, source: SourcePair, folder: Path) -> Pair:
    label = folder / benchmark.id / f"{source.key}{benchmark.label_suffix}"
    write_picture(label, benchmark.read_source(source).astype(benchmark.label_dtype))
    image = source.image
    if benchmark.resized_images:
        from repro.datasets.images import read_image

        image = label.with_name(f"{source.key}.jpg")
        write_picture(image, benchmark.prepared_image(read_image(source.image)), quality=95)
    return Pair(source.key, image, label)


def _drawn(benchmark: Benchmark, count: int, folder: Path, size: tuple[int, int]) -> list[Pair]:
    """Draw blocks of noise, JPEGs like photographs, whose labels are blocks of all classes, some of them ignored."""
    height, width = size
    draw = np.random.default_rng(0)
    found = []
    for i in range(count):
        rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
        blocks = draw.integers(0, 256 - _SHADES, (rows, columns, 3))
        classes = draw.integers(0, benchmark.num_classes, (rows, columns))
        classes[0] = benchmark.ignore_label
        coarse, labels = (a.repeat(_BLOCK, 0).repeat(_BLOCK, 1)[:height, :width] for a in (blocks, classes))
        image, label = (folder / f"{benchmark.id}-{i}{end}" for end in (".jpg", f"-label{benchmark.label_suffix}"))
        write_picture(image, (coarse + draw.integers(0, _SHADES, coarse.shape)).astype(np.uint8), quality=90)
        write_picture(label, labels.astype(benchmark.label_dtype))
        found.append(Pair(f"drawn-{i}", image, label))
    return found
