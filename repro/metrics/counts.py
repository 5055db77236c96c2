"""Integer pixel counts: from a prediction and a label map to sparse per-image counts, exactly and once.

Everything published about a result (any mIoU, interval, paired test) is computed from these counts, never from
pictures again. A pixel whose label is ignored counts nowhere, also not as a prediction.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.errors import DataError, RunError, command
from repro.files import write_atomic
from repro.mends import make_again

Int64 = NDArray[np.int64]

FORMAT = 1
UNPREDICTED = -1
"""In a prediction: no class. Such a pixel is one of ground truth, and of no class's prediction: it is wrong."""
_ARRAYS = ("offsets", "classes", "intersection", "ground_truth", "prediction", "confusion")


def confusion_matrix(
    prediction: NDArray[Any],
    label: NDArray[Any],
    num_classes: int,
    ignore_label: int,
    background_index: int | None = None,
) -> Int64:
    """Return the confusion of one image, (num_classes, num_classes) int64, rows ground truth, columns prediction.

    ``prediction`` (H, W) holds indices into the prompt vocabulary; with ``background_index`` every prediction from
    there on is background (the fold of PAS-20b, docs/specs/benchmarks.md). ``label`` (H, W) holds classes; values from
    ``ignore_label`` upwards are ignored (255 in 8 bit, 65535 in 16 bit, and PC-459's "459 and above").

    Pixels without a predicted class (:data:`UNPREDICTED`) are in no cell.

    Raises DataError for a label value between the last class and the ignore label, ValueError for shapes that differ
    and for a prediction outside the vocabulary.
    """
    return _confusion(prediction, label, num_classes, ignore_label, background_index)[0]


def _confusion(
    prediction: NDArray[Any],
    label: NDArray[Any],
    num_classes: int,
    ignore_label: int,
    background_index: int | None,
) -> tuple[Int64, Int64]:
    """Return the confusion, and of each class (num_classes,) the pixels of ground truth without a prediction."""
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} differ in shape")
    truth = np.minimum(label.ravel(), ignore_label).astype(np.int64)
    # The ignored label becomes one extra row, which is cut off.
    truth[truth == ignore_label] = num_classes
    if truth.size and (truth.max() > num_classes or truth.min() < 0):
        strange = truth[(truth > num_classes) | (truth < 0)]
        raise DataError(
            "a label value lies outside the vocabulary",
            expected=f"0..{num_classes - 1} or {ignore_label} and above (ignored)",
            found=int(strange[0]),
            mend=command("repro", "data", "verify", "BENCHMARK", "--data-root", "DIR"),
        )
    predicted = prediction.ravel().astype(np.int64)
    if background_index is not None:
        predicted = np.minimum(predicted, background_index)
    if predicted.size and (predicted.max() >= num_classes or predicted.min() < UNPREDICTED):
        raise ValueError(f"a prediction lies outside 0..{num_classes - 1}")
    missed = np.zeros(num_classes, np.int64)
    if predicted.size and predicted.min() == UNPREDICTED:
        without = predicted == UNPREDICTED
        missed = np.bincount(truth[without], minlength=num_classes + 1)[:num_classes].astype(np.int64, copy=False)
        truth, predicted = truth[~without], predicted[~without]
    truth *= num_classes
    truth += predicted
    flat = np.bincount(truth, minlength=num_classes * (num_classes + 1))
    matrix = flat[: num_classes * num_classes].reshape(num_classes, num_classes).astype(np.int64, copy=False)
    return matrix, missed


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """Sparse counts of many images.

    Image i (called ``keys[i]``) has the classes ``classes[offsets[i]:offsets[i + 1]]``, each with at least one pixel
    of ground truth or prediction, and beside them, in pixels, ``intersection``, ``ground_truth`` and ``prediction``.
    ``confusion`` (num_classes, num_classes) is the sum over the images, rows ground truth; a row's sum is less than its
    ground truth where pixels have no predicted class. All int64.
    """

    keys: tuple[str, ...]
    offsets: Int64
    classes: Int64
    intersection: Int64
    ground_truth: Int64
    prediction: Int64
    confusion: Int64

    @property
    def num_classes(self) -> int:
        return int(self.confusion.shape[0])

    def __len__(self) -> int:
        return len(self.keys)

    def totals(self) -> tuple[Int64, Int64, Int64]:
        """Return intersection, ground truth and prediction per class over all images, each (num_classes,) int64."""
        return self.subset_totals(np.ones(len(self), dtype=np.int64))

    def subset_totals(self, times: Int64) -> tuple[Int64, Int64, Int64]:
        """Return :meth:`totals`, with image i counted ``times[i]`` times (a bootstrap resample, a subset)."""
        weight = np.repeat(times, np.diff(self.offsets))

        def total(values: Int64) -> Int64:
            out = np.zeros(self.num_classes, dtype=np.int64)
            np.add.at(out, self.classes, values * weight)  # bincount with weights would sum in floating point
            return out

        return total(self.intersection), total(self.ground_truth), total(self.prediction)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays as they are stored; keys as a unicode array, so that nothing needs unpickling."""
        stored: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _ARRAYS}
        return {"format": np.array(FORMAT), "keys": np.array(self.keys, dtype=np.str_), **stored}

    def save(self, path: Path, **extra: NDArray[Any]) -> None:
        """Write ``path`` (npz) atomically, with ``extra`` arrays beside; ResourceError when the disk is full."""
        arrays = {**self.arrays(), **extra}
        write_atomic(path, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))

    @classmethod
    def load(cls, path: Path) -> Counts:
        """Read what :meth:`save` wrote; RunError for a file that is not that."""
        return cls.load_with(path)[0]

    @classmethod
    def load_with(cls, path: Path, *extra: str) -> tuple[Counts, dict[str, NDArray[Any]]]:
        """Load the counts in ``path`` and the ``extra`` arrays beside them; RunError for a file that is not that."""
        content = io.BytesIO(path.read_bytes())
        try:
            with np.load(content, allow_pickle=False) as stored:
                if int(stored["format"]) != FORMAT:
                    raise RunError(f"{path} has another format", expected=FORMAT, found=int(stored["format"]))
                arrays = {name: stored[name].astype(np.int64, copy=False) for name in _ARRAYS}
                keys = tuple(str(k) for k in stored["keys"])
                return cls(keys=keys, **arrays), {name: stored[name] for name in extra}
        except RunError:
            raise
        except Exception as error:  # damage shows as zlib, zipfile, tokenize, runtime and a dozen other errors
            raise RunError(
                f"{path} is not a file of counts",
                expected="an npz written by repro eval",
                found=str(error),
                mend=make_again(path),
            ) from error


class CountsBuilder:
    """Collects images into :class:`Counts`, optionally after those of an earlier, interrupted collection."""

    def __init__(self, num_classes: int, ignore_label: int, background_index: int | None = None) -> None:
        self.num_classes, self.ignore_label, self.background_index = num_classes, ignore_label, background_index
        self.keys: list[str] = []
        self._lengths: list[int] = []
        self._parts: list[tuple[Int64, Int64, Int64, Int64]] = []
        self._confusion: Int64 = np.zeros((num_classes, num_classes), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def clear(self) -> None:
        """Forget all images."""
        self.keys, self._lengths, self._parts = [], [], []
        self._confusion = np.zeros_like(self._confusion)

    def extend(self, earlier: Counts) -> None:
        """Take over ``earlier`` as it is; ValueError when it has another number of classes."""
        if earlier.num_classes != self.num_classes:
            raise ValueError(f"counts over {earlier.num_classes} classes, not {self.num_classes}")
        self.keys.extend(earlier.keys)
        self._lengths.extend(int(n) for n in np.diff(earlier.offsets))
        self._parts.append((earlier.classes, earlier.intersection, earlier.ground_truth, earlier.prediction))
        self._confusion += earlier.confusion

    def add(self, key: str, prediction: NDArray[Any], label: NDArray[Any]) -> None:
        """Count one image; raises as :func:`confusion_matrix` does."""
        matrix, missed = _confusion(prediction, label, self.num_classes, self.ignore_label, self.background_index)
        truth, predicted = matrix.sum(axis=1) + missed, matrix.sum(axis=0)
        present = np.flatnonzero(truth + predicted)
        self.keys.append(key)
        self._lengths.append(len(present))
        self._parts.append((present, matrix.diagonal()[present], truth[present], predicted[present]))
        self._confusion += matrix

    def build(self) -> Counts:
        """Return all images added so far, in the order they were added."""
        empty = np.zeros(0, dtype=np.int64)
        classes, intersection, truth, predicted = (
            np.concatenate([empty, *(part[i] for part in self._parts)]) for i in range(4)
        )
        return Counts(
            keys=tuple(self.keys),
            offsets=np.cumsum(np.array([0, *self._lengths], dtype=np.int64)),
            classes=classes,
            intersection=intersection,
            ground_truth=truth,
            prediction=predicted,
            confusion=self._confusion.copy(),
        )


def merge(parts: Sequence[Counts]) -> Counts:
    """Merge the images of all ``parts`` (at least one) in order, e.g. of several processes."""
    builder = CountsBuilder(parts[0].num_classes, parts[0].num_classes)
    for part in parts:
        builder.extend(part)
    return builder.build()
