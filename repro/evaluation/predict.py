"""Label maps and scores of single images, by the code an evaluation predicts with.

An evaluation counts the arg-max of :class:`repro.evaluation.infer.SlidingWindow`, with background folded where the
benchmark folds it; this module keeps that same map, and optionally the scores behind it, instead of counting it. Images
may be photographs of any size here, so that the running arg-max is held in as few bytes per pixel as it takes.
"""

from __future__ import annotations

import dataclasses
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from repro.datasets.benchmarks import Benchmark
from repro.datasets.images import read_image, unreadable
from repro.datasets.protocol import Protocol
from repro.errors import UsageError
from repro.evaluation.infer import SlidingWindow
from repro.files import check_room, write_atomic
from repro.methods.interface import Method

MAX_CLASSES = 1000
_STRIP = 1 << 22  # pixels
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")


@dataclasses.dataclass(frozen=True)
class ClassList:
    """The classes of a label map in the order of its values, and the words a method is asked for.

    With ``background_index`` every prompt from that index on stands for the one class of that index (the fold of
    PAS-20b); without it there is one prompt per class.
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...]
    background_index: int | None = None

    @classmethod
    def of_benchmark(cls, benchmark: Benchmark) -> ClassList:
        """Return classes and prompts as an evaluation on ``benchmark`` has them."""
        return cls(benchmark.class_names(), benchmark.prompt_names(), benchmark.background_index)

    @classmethod
    def of_names(cls, names: Sequence[str]) -> ClassList:
        """Return the user's own names, each its own prompt; white space becomes one space, empty names are dropped.

        Raises UsageError for no name, for more than 1,000, and for names that differ in nothing a text encoder reads.
        """
        cleaned = tuple(filter(None, (" ".join(name.split()) for name in names)))
        if not 0 < len(cleaned) <= MAX_CLASSES:
            raise UsageError(
                "no class to segment" if not cleaned else "too many classes",
                expected=f"1 to {MAX_CLASSES} class names",
                found=len(cleaned) or "none",
                mend='--classes "cat,dog,sky", or --classes @FILE with one name per line',
            )
        first: dict[str, int] = {}
        for index, name in enumerate(cleaned):
            # CLIP's tokenisers fold case and compose accents.
            earlier = first.setdefault(unicodedata.normalize("NFC", name).casefold(), index)
            if earlier != index:
                raise UsageError(
                    "a class is named twice: one of the two could never be predicted",
                    expected="names that differ in more than upper and lower case",
                    found=f"{cleaned[earlier]!r} (index {earlier}) and {name!r} (index {index})",
                    mend="leave one of them out",
                )
        return cls(cleaned, cleaned)

    def __len__(self) -> int:
        return len(self.names)


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Read the image as uint8 RGB (H, W, 3), read as evaluations read it, from the formats of ``FORMATS`` only.

    Raises DataError for an absent or damaged file, another format, and a mode that has no conversion to RGB.
    """
    try:
        with Image.open(path, formats=FORMATS):
            pass
        return read_image(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        mend = f"name an image in one of these formats: {', '.join(FORMATS)}"
        raise unreadable(path, error, mend=mend) from error


class Predictor:
    """Label maps of ``method`` for ``classes`` under ``protocol``; the method is taken as it is, on its device.

    With ``keep_logits`` the scores of the last image can be written too. Memory does not grow with classes times
    pixels: classes are processed in chunks (SlidingWindow), scores are written as they come.
    """

    def __init__(self, method: Method, classes: ClassList, protocol: Protocol, *, keep_logits: bool = False) -> None:
        self.method, self.classes = method, classes
        self.window, self._keep = SlidingWindow(protocol), keep_logits
        self._size = (0, 0)
        self._logits: Tensor | None = None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the class index (H, W), uint8 for up to 255 classes, else uint16, of a uint8 RGB image (H, W, 3).

        Raises RunError when the method returns NaN.
        """
        self._size, self._logits = (image.shape[0], image.shape[1]), None  # freed before the next ones are made
        prompts = self.method.prompts(self.classes.prompts, self.classes.background_index)
        (logits,) = self.window.logits(self.method, [self.window.resize(image)], prompts)
        self._logits = logits if self._keep else None
        return self.window.labels(self.method, logits, self._size, last=len(self.classes) - 1)

    def probabilities(self) -> Iterator[NDArray[np.float32]]:
        """Yield scores (k, H, W) of the last image, k classes at a time in label order.

        They are what the arg-max was taken of; sigmoid scores need not sum to one. A folded background has the largest
        score of its prompts; arg-max over classes is the label map. Raises RuntimeError where no logits are kept.
        """
        if self._logits is None:
            raise RuntimeError("no logits are kept: predict an image with keep_logits first")
        fold = self.classes.background_index
        background: NDArray[np.float32] | None = None
        for first, chunk in self.window.score_chunks(self.method, self._logits, self._size):
            scores: NDArray[np.float32] = chunk.cpu().numpy()
            own = len(scores) if fold is None else min(max(fold - first, 0), len(scores))
            if own:
                yield scores[:own]
            if own < len(scores):
                largest = scores[own:].max(axis=0)
                background = largest if background is None else np.maximum(background, largest, out=background)
        if background is not None:
            yield background[None]

    def write_probabilities(self, path: Path) -> None:
        """Write the scores of the last image to ``path``, an npz of one array ``probabilities`` (N, H, W) float32.

        Raises ResourceError, before anything is computed, where the disk has no room for it.
        """
        shape = (len(self.classes), *self._size)
        check_room(
            path.parent,
            4 * shape[0] * shape[1] * shape[2],
            f"the probabilities {path}",
            of=f" for {shape[0]} classes of {shape[2]}x{shape[1]} pixels",
            mend="leave out --save-probs, or name fewer classes or a smaller image",
        )

        def write(stream: IO[bytes]) -> None:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            with (
                zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive,
                archive.open("probabilities.npy", "w", force_zip64=True) as member,
            ):
                np.lib.format.write_array_header_1_0(member, header)
                for scores in self.probabilities():
                    member.write(np.ascontiguousarray(scores, "<f4").data)

        write_atomic(path, write)


def write_label(path: Path, labels: NDArray[Any]) -> None:
    """Write ``labels`` (H, W), uint8 or uint16, as a grey PNG of as many bits, atomically."""
    write_atomic(path, lambda stream: Image.fromarray(labels).save(stream, format="PNG"))


def class_pixels(labels: NDArray[Any], classes: ClassList) -> NDArray[np.int64]:
    """Count the pixels of each class (N,) in a label map."""
    total = np.zeros(len(classes), dtype=np.int64)
    for strip in np.array_split(labels, -(-labels.size // _STRIP)):  # bincount takes 8 bytes per pixel
        total += np.bincount(strip.ravel(), minlength=len(classes))
    return total
