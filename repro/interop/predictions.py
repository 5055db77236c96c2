"""Predictions of other code: folders of label maps, arrays, or detectron2's JSON of run lengths (docs/predictions.md).

A prediction holds class indices of the benchmark's labels, 0 .. ``num_classes`` - 1 after the fold of the background.
255 (up to 255 classes) and 65535, and -1 in arrays, mean that a pixel has no class; it counts as wrong.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from repro.datasets.data_set import VOID, VOID16
from repro.datasets.layout import some
from repro.errors import DataError
from repro.hashing import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repro.datasets.benchmarks import Benchmark

NO_CLASS = -1
"""In what :meth:`Predictions.read` returns: a pixel without a class (repro.metrics.counts.UNPREDICTED)."""


@dataclasses.dataclass(frozen=True)
class Numbers:
    """How the numbers in predictions are read: ``first`` is that of the first class, ``ids`` (or none) those of all."""

    first: int = 0
    ids: tuple[int, ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what they are known by, as plain data."""
        return {"first": self.first, "ids": digest(list(self.ids)) if self.ids else None}


class Predictions(ABC):
    """Predictions of the images of ``benchmark`` below ``source``, by image key."""

    format: ClassVar[str]

    def __init__(self, source: Path, benchmark: Benchmark, numbers: Numbers) -> None:
        self.source, self.benchmark, self.numbers = source, benchmark, numbers

    @property
    @abstractmethod
    def keys(self) -> Collection[str]:
        """The images that have a prediction, by file name without ending."""

    @abstractmethod
    def content(self) -> str:
        """Return a digest of the files that hold the predictions."""

    @abstractmethod
    def _values(self, key: str, size: tuple[int, int]) -> tuple[NDArray[np.int64], str]:
        """Return what is stored for an image (H, W), -1 where nothing is, and where it is stored, in words."""

    def check_keys(self, wanted: Sequence[str], known: Collection[str]) -> None:
        """Raise DataError where one of the ``wanted`` images has no prediction, or one is of no ``known`` image."""
        missing, unknown = sorted(set(wanted) - set(self.keys)), sorted(set(self.keys) - set(known))
        if not missing and not unknown:
            return
        gaps = [f"{len(missing)} missing: {some(missing)}"] if missing else []
        gaps += [f"{len(unknown)} of no image of the set: {some(unknown)}"] if unknown else []
        raise DataError(
            f"the predictions in {self.source} are not those of the images of {self.benchmark.id}",
            expected=f"one for each of {len(wanted)} images, named like it, such as {min(wanted)}",
            found="; ".join(gaps),
            mend="predict what is missing, move away what is too much; --split for another split, --limit N for the "
            "first N images",
        )

    def read(self, key: str, size: tuple[int, int]) -> NDArray[np.int64]:
        """Return class indices (H, W) of an image of ``size`` (H, W), :data:`NO_CLASS` where there is none.

        Raises DataError for a damaged file, another size, and values that are no class of the benchmark.
        """
        import numpy as np

        values, where = self._values(key, size)
        if values.shape != size:
            raise DataError(
                f"{where} differs in size from its label",
                expected=f"{size[0]}x{size[1]} (height x width of the label)",
                found="x".join(map(str, values.shape)),
                mend="resize the scores to the label's size and take the arg-max there, as detectron2 does; "
                "label maps are never resized",
            )
        classes = self.benchmark.num_classes
        indices = self._indices(values)
        wrong = (indices < NO_CLASS) | (indices >= classes)
        if wrong.any():
            found, pixels = np.unique(values[wrong], return_counts=True)
            raise DataError(
                f"{where} holds values that are no class of {self.benchmark.id}",
                expected=f"{self._legal()}, {self._void()} for no class",
                found=", ".join(f"{v} ({n} pixels)" for v, n in zip(found[:5], pixels, strict=False)),
                mend=self._other_numbers(),
            )
        return indices

    def _indices(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return class indices; what is no class stays outside of them."""
        import numpy as np

        void = np.isin(values, self._voids())
        if not self.numbers.ids:
            indices = values - self.numbers.first
            void |= values == self.numbers.first - 1  # -1, or mmsegmentation's 0 for "nothing"
            return np.where(void, NO_CLASS, np.where(indices < 0, self.benchmark.num_classes, indices))
        ids = np.array(self.numbers.ids)
        order = np.argsort(ids)
        place = np.minimum(np.searchsorted(ids, values, sorter=order), len(ids) - 1)
        known = ids[order[place]] == values
        return np.where(known, order[place], np.where(void | (values == -1), NO_CLASS, self.benchmark.num_classes))

    def _voids(self) -> tuple[int, ...]:
        """Return what means "no class" besides -1: 255 only where it is no class."""
        last = self.numbers.first + self.benchmark.num_classes - 1
        return (VOID, VOID16) if last < VOID else (VOID16,)

    def _void(self) -> str:
        return " or ".join(map(str, self._voids()))

    def _legal(self) -> str:
        if self.numbers.ids:
            return f"the {len(self.numbers.ids)} category ids that were named, such as {self.numbers.ids[0]}"
        return f"{self.numbers.first}..{self.numbers.first + self.benchmark.num_classes - 1}"

    def _other_numbers(self) -> str:
        return (
            "--first-class 1 where the first class is 1 (mmsegmentation with reduce_zero_label), --category-ids FILE "
            "for ids of detectron2's metadata, or write class indices"
        )
