"""One image of a benchmark: read the annotation as distributed, convert it, write the prepared label.

Files appear under their own name only when they are whole.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.data_set import VOID, OutsideVocabularyError
from repro.datasets.images import check_label, image_size, load_pillow, read_label
from repro.datasets.listing import SourcePair
from repro.datasets.writing import write_picture
from repro.errors import DataError


@dataclasses.dataclass(frozen=True)
class Task:
    """One label to make: ``source`` -> ``label`` (and ``image``, where images are re-encoded too).

    ``keep`` accepts a readable, legal label that is there already.
    """

    benchmark: str
    source: SourcePair
    label: Path
    image: Path | None
    keep: bool
    mend: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a task: "converted", "kept" or "dropped", and the pixel count of each label value.

    Of a label that others made, ``difference`` says how it differs from its source, "" where it does not.
    """

    key: str
    state: str
    pixels: dict[int, int]
    difference: str = ""


def perform(task: Task) -> Outcome:
    """Make one label; DataError naming the file where the source is damaged or holds an impossible value."""
    benchmark = get_benchmark(task.benchmark)
    image_there = task.image is None or task.image.is_file()
    if task.keep and image_there and task.label.is_file():
        kept = _usable(benchmark, task)
        if kept is not None:
            return Outcome(task.source.key, "kept", present(kept))
    label = convert_source(benchmark, task.source, task.mend)
    size, found = image_size(task.source.image), _source_size(benchmark, task.source, label)
    if size != found:
        raise DataError(
            f"{task.source.label} and its image {task.source.image} differ in size",
            expected=f"{size[0]}x{size[1]} (height x width of the image)",
            found=f"{found[0]}x{found[1]}",
            mend=f"fetch both again from their source, then {task.mend}",
        )
    pixels = _count(label)
    if benchmark.unlabelled_values and pixels.keys() <= {VOID}:
        task.label.unlink(missing_ok=True)
        return Outcome(task.source.key, "dropped", {})
    if task.image is not None:
        _write_image(benchmark, task.source.image, task.image)
    write_picture(task.label, label)
    return Outcome(task.source.key, "converted", pixels)


def _count(label: NDArray[Any]) -> dict[int, int]:
    """Return pixels of each value present."""
    if label.dtype == np.uint8:  # numpy would first widen every pixel to 64 bits
        return {value: count for value, count in enumerate(Image.fromarray(label).histogram()) if count}
    return present(np.bincount(label.ravel()))


def present(pixels: NDArray[np.int64]) -> dict[int, int]:
    """Return pixels by value of the values that occur, from counts (V,) of all."""
    return {int(v): int(pixels[v]) for v in np.flatnonzero(pixels)}


def _usable(benchmark: Benchmark, task: Task) -> NDArray[np.int64] | None:
    """Return the histogram of a label that is there already, None where it is damaged and must be made again."""
    try:
        label = read_label(task.label)
        size = image_size(task.source.image)
        if task.image is not None:
            size = benchmark.prepared_size(*size)
        if str(label.dtype) != benchmark.label_dtype:
            return None
        pixels = check_label(label, benchmark, task.label, size)
        return pixels if pixels[: benchmark.num_classes].any() or not benchmark.unlabelled_values else None
    except DataError:
        return None


def convert_source(benchmark: Benchmark, source: SourcePair, command: str) -> NDArray[Any]:
    """Return the label map (H, W) the rules make of an annotation.

    Raises DataError naming the file where an annotation is damaged; ``command`` is what to repeat then.
    """
    try:
        return benchmark.read_source(source)
    except OutsideVocabularyError as error:
        raise DataError(
            f"{source.label} holds a value outside the vocabulary of {benchmark.id}",
            expected=error.legal,
            found=f"{error.value}: {error.cause}" if error.cause else error.value,
            mend=benchmark.instructions
            if benchmark.described_by is not None
            else f"fetch {f'all annotations of {benchmark.id}' if error.cause else source.label.name} again from "
            f"{'their' if error.cause else 'its'} source, then {command} --again",
        ) from error


def _source_size(benchmark: Benchmark, source: SourcePair, label: NDArray[Any]) -> tuple[int, int]:
    """Return (H, W) of the annotation before any resizing."""
    return image_size(source.label) if benchmark.resized_images else (label.shape[0], label.shape[1])


def _write_image(benchmark: Benchmark, source: Path, target: Path) -> None:
    # As the official script: no EXIF handling, Pillow's default JPEG quality.
    image = load_pillow(source)
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    write_picture(target, benchmark.prepared_image(np.asarray(image)))
