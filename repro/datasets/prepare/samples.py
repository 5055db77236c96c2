"""Fixed annotations in every source format, and what the rules make of them: by it changed rules are noticed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.listing import SourcePair
from repro.datasets.prepare.formats import Task, perform
from repro.datasets.writing import write_picture

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark

SIZES = ((37, 52), (530, 544))
"""Heights and widths; ADE20K's full images over 512 are reduced."""


def converted_samples(benchmark: Benchmark) -> Iterator[NDArray[Any]]:
    """Yield the labels, and where they are made anew the images, of two samples in the format of ``benchmark``.

    What a rule drops is an empty array.
    """
    with tempfile.TemporaryDirectory(prefix="repro-rules-") as name:
        folder = Path(name)
        for number, (height, width) in enumerate(SIZES):
            source = _sample(benchmark, folder, number, height, width)
            label = folder / f"{number}-label{benchmark.label_suffix}"
            image = folder / f"{number}-image.jpg" if benchmark.resized_images else None
            outcome = perform(Task(benchmark.id, source, label, image, keep=False, mend=""))
            yield np.array([outcome.state == "converted"])
            yield _read(label) if label.is_file() else np.zeros(0, np.uint8)
            if image is not None:
                yield benchmark.prepared_image(_read(source.image))


def _read(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def _sample(benchmark: Benchmark, folder: Path, number: int, height: int, width: int) -> SourcePair:
    rng = np.random.default_rng((19, number))
    image = folder / f"{number}.png"
    write_picture(image, rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
    blocks = rng.integers(0, 2**15, (height // 2 + 1, width // 2 + 1)).repeat(2, 0).repeat(2, 1)[:height, :width]
    path, note = benchmark.write_sample(folder, number, blocks)
    return SourcePair(str(number), image, path, note)
