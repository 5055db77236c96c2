"""What a measure is: maps made from a prediction and a label, counted image by image like the masks themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.benchmarks import Benchmark
from repro.metrics.counts import Counts, CountsBuilder

Int32 = NDArray[np.int32]
Maps = Mapping[str, tuple[Int32, Int32]]


class Measure(ABC):
    """Collects one kind of counts, in several parts, over the images of a benchmark.

    Being :class:`Counts`, the parts are merged, resampled and tested by the code that does so for mIoU.
    """

    name: ClassVar[str]

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self.builders = {part: CountsBuilder(n, n) for part, n in self.parts(benchmark).items()}

    @classmethod
    @abstractmethod
    def parts(cls, benchmark: Benchmark) -> dict[str, int]:
        """Return the parts and the number of classes each counts; in the maps of a part this number means "ignored"."""

    @classmethod
    def facts(cls, benchmark: Benchmark) -> Any:
        """Return JSON values, besides the code, that decide what is counted."""
        del benchmark

    @abstractmethod
    def maps(self, prediction: Int32, label: Int32) -> Maps:
        """Return prediction and label (H, W) of each part; ``num_classes`` in ``label`` means ignored."""

    @classmethod
    @abstractmethod
    def values(cls, parts: Mapping[str, Counts]) -> dict[str, float]:
        """Return the aggregate figures of finished ``parts``, fractions; NaN where there is nothing to average."""

    def add(self, key: str, prediction: NDArray[Any], label: NDArray[Any]) -> None:
        """Count one image; ``prediction`` (H, W) in prompt classes, ``label`` (H, W) as stored."""
        b = self.benchmark
        predicted = prediction if b.background_index is None else np.minimum(prediction, b.background_index)
        truth = np.where(label >= b.ignore_label, b.num_classes, label)
        for part, (p, t) in self.maps(predicted.astype(np.int32), truth.astype(np.int32)).items():
            self.builders[part].add(key, p, t)

    def build(self) -> dict[str, Counts]:
        """Return the counts of every part, over the images added so far."""
        return {part: builder.build() for part, builder in self.builders.items()}
