"""One image of a benchmark: read the annotation as distributed, convert it, write the prepared label.

Files appear under their own name only when they are whole.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.images import check_label, image_size, load_pillow, read_label
from repro.datasets.layout import SourcePair
from repro.datasets.palettes import check_palette
from repro.datasets.prepare import convert
from repro.datasets.texts import shown
from repro.errors import DataError
from repro.files import storage_errors

MAT_ERRORS = (
    KeyError,
    ValueError,
    TypeError,
    OSError,
    EOFError,
    IndexError,
    NotImplementedError,
    struct.error,
    zlib.error,
)
"""What scipy raises for damaged MATLAB files, besides its own MatReadError."""

LARGEST_ID = 65535
"""The largest class number of a LabelMap: labels have 16 bits."""


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
    """What became of a task: "converted", "kept" or "dropped", and the pixel count of each label value."""

    key: str
    state: str
    pixels: dict[int, int]


def perform(task: Task) -> Outcome:
    """Make one label; DataError naming the file where the source is damaged or holds an impossible value."""
    benchmark = get_benchmark(task.benchmark)
    image_there = task.image is None or task.image.is_file()
    if task.keep and image_there and task.label.is_file():
        kept = _usable(benchmark, task)
        if kept is not None:
            return Outcome(task.source.key, "kept", _histogram(kept))
    label = convert_source(benchmark, task.source, task.mend)
    size = image_size(task.source.image)
    if size != _source_size(benchmark, task.source, label):
        found = _source_size(benchmark, task.source, label)
        raise DataError(
            f"{task.source.label} and its image {task.source.image} differ in size",
            expected=f"{size[0]}x{size[1]} (height x width of the image)",
            found=f"{found[0]}x{found[1]}",
            mend=f"fetch both again from their source, then {task.mend}",
        )
    pixels = _count(label)
    if benchmark.unlabelled_values and pixels.keys() <= {convert.VOID}:
        task.label.unlink(missing_ok=True)
        return Outcome(task.source.key, "dropped", {})
    if task.image is not None:
        _write_image(task.source.image, task.image)
    write_picture(task.label, label)
    return Outcome(task.source.key, "converted", pixels)


def _count(label: NDArray[Any]) -> dict[int, int]:
    """Pixels of each value present."""
    if label.dtype == np.uint8:  # numpy would first widen every pixel to 64 bits
        return {value: count for value, count in enumerate(Image.fromarray(label).histogram()) if count}
    return _histogram(np.bincount(label.ravel()))


def _histogram(pixels: NDArray[np.int64]) -> dict[int, int]:
    return {int(v): int(pixels[v]) for v in np.flatnonzero(pixels)}


def _usable(benchmark: Benchmark, task: Task) -> NDArray[np.int64] | None:
    """The histogram of a label that is there already, None where it is damaged and must be made again."""
    try:
        label = read_label(task.label)
        size = image_size(task.source.image)
        if task.image is not None:
            size = convert.ade_size(*size)
        if str(label.dtype) != benchmark.label_dtype:
            return None
        pixels = check_label(label, benchmark, task.label, size)
        return pixels if pixels[: benchmark.num_classes].any() or not benchmark.unlabelled_values else None
    except DataError:
        return None


def convert_source(benchmark: Benchmark, source: SourcePair, command: str) -> NDArray[Any]:
    """The label map (H, W) the rules make of an annotation.

    Raises DataError naming the file where the annotation is damaged or holds an impossible value; ``command`` is what
    to repeat once it is mended.
    """
    try:
        return _convert(benchmark, source)
    except convert.OutsideVocabularyError as error:
        raise DataError(
            f"{source.label} holds a value outside the vocabulary of {benchmark.id}",
            expected=error.legal,
            found=f"{error.value}: {error.cause}" if error.cause else error.value,
            mend=f"fetch {f'all annotations of {benchmark.id}' if error.cause else source.label.name} again from "
            f"{'their' if error.cause else 'its'} source, then {command} --again",
        ) from error


def _convert(benchmark: Benchmark, source: SourcePair) -> NDArray[Any]:
    if benchmark.mask_values():
        return benchmark.convert_mask(_mask(source.label, 2))
    if benchmark.rule == "ade847":
        return convert.ade847(_mask(source.label, 3)[..., :3])
    if benchmark.rule == "pc459":
        return convert.context459(_label_map(source.label))
    if benchmark.rule == "pc59" and source.note is not None:
        note = source.note
        try:
            return convert.context59(note["annotations"], int(note["height"]), int(note["width"]))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise DataError(
                f"{source.label}: the annotations of image {source.key} cannot be decoded",
                expected="COCO run lengths of the image's size",
                found=f"{type(error).__name__}: {shown(error)}",
                mend=f"fetch {source.label.name} again from its source",
            ) from error
    raise AssertionError(f"no rule {benchmark.rule}")


def _source_size(benchmark: Benchmark, source: SourcePair, label: NDArray[Any]) -> tuple[int, int]:
    """(H, W) of the annotation before any resizing."""
    return image_size(source.label) if benchmark.resized_images else (label.shape[0], label.shape[1])


def _mask(path: Path, dimensions: int) -> NDArray[np.uint8]:
    picture = load_pillow(path, "annotation")
    check_palette(picture, path, "annotation", f"fetch {path.name} again from its source")
    mask = np.asarray(picture)
    if mask.ndim != dimensions or mask.dtype != np.uint8:
        raise DataError(
            f"annotation {path} has an unexpected form",
            expected="8 bits, one channel" if dimensions == 2 else "8 bits, three channels",
            found=f"shape {mask.shape}, {mask.dtype}",
            mend=f"fetch {path.name} again from its source",
        )
    return mask


def _label_map(path: Path) -> NDArray[Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        label_map = loadmat(path, variable_names=["LabelMap"])["LabelMap"]
    except (MatReadError, *MAT_ERRORS) as error:
        raise DataError(
            f"annotation {path} cannot be read",
            expected="a MATLAB file with LabelMap",
            found=repr(error),
            mend=f"fetch {path.name} again from its source",
        ) from error
    whole = isinstance(label_map, np.ndarray) and label_map.dtype.kind in "uif" and bool((label_map % 1 == 0).all())
    if not whole or label_map.ndim != 2 or (label_map.size and label_map.min() < 0):
        raise DataError(
            f"annotation {path} has an unexpected LabelMap",
            expected="a matrix of class numbers from 0",
            found=f"shape {label_map.shape}, {label_map.dtype}",
            mend=f"fetch {path.name} again from its source",
        )
    if label_map.size and label_map.max() > LARGEST_ID:
        raise DataError(
            f"annotation {path} holds a class number beyond 16 bits, which would become another class",
            expected=f"0 to {LARGEST_ID}",
            found=int(label_map.max()),
            mend=f"fetch {path.name} again from its source",
        )
    return np.asarray(label_map)


def _write_image(source: Path, target: Path) -> None:
    # As the official script: no EXIF handling, Pillow's default JPEG quality.
    image = load_pillow(source)
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    write_picture(target, convert.ade_image(np.asarray(image)))


def write_picture(path: Path, pixels: NDArray[Any], **options: Any) -> None:
    """Write an array as the format of the file's ending, under a temporary name first; folders are made."""
    stream = io.BytesIO()
    kind = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG"}[path.suffix]
    if kind == "PNG":
        options = {"compress_level": 1, "compress_type": zlib.Z_RLE, **options}  # smaller and faster for label maps
    Image.fromarray(pixels).save(stream, kind, **options)
    write_bytes(path, stream.getbuffer())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` under a temporary name, then rename. Not forced to disk one by one: a set has 118,287 files."""
    partial = path.with_name(f".{path.name}.partial")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.unlink(missing_ok=True)  # were it a link, its target would be written
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
