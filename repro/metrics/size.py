"""Size of objects: how well the pixels of small, medium and large regions of the ground truth are found.

A region is what hangs together of one class, by sides or corners; an ignored pixel belongs to none and divides. Its
size is its share of the labelled pixels of its image, so that it does not depend on the resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np

from repro.datasets.benchmarks import Benchmark
from repro.metrics.counts import Counts
from repro.metrics.measure import Int32, Maps, Measure
from repro.metrics.miou import metrics_from_counts

SIZES = ("small", "medium", "large")
LIMITS = (0.01, 0.1)
"""Shares of the labelled pixels from which a region is medium, and above which it is large."""


def region_sizes(labels: Int32, ignored: int) -> Int32:
    """Return of each pixel of ``labels`` (H, W) the index in :data:`SIZES` of its region, -1 where ``ignored``."""
    sizes = np.full(labels.shape, -1, np.int32)
    labelled = int((labels != ignored).sum())
    for c in np.unique(labels[labels != ignored]).tolist():
        mask = labels == c
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        own = mask[box]
        _, regions, stats, _ = cv2.connectedComponentsWithStats(own.astype(np.uint8), connectivity=8)
        shares = stats[:, cv2.CC_STAT_AREA] / labelled
        kinds = (shares >= LIMITS[0]).astype(np.int32) + (shares > LIMITS[1])
        sizes[box][own] = kinds[regions[own]]
    return sizes


class SizeMeasure(Measure):
    """Counts over the pixels of the regions of each size: parts ``size_small``, ``size_medium`` and ``size_large``.

    A pixel of a region of another size counts nowhere in a part, also not as a prediction.
    """

    name: ClassVar[str] = "size"

    @classmethod
    def parts(cls, benchmark: Benchmark) -> dict[str, int]:
        return {f"size_{size}": benchmark.num_classes for size in SIZES}

    def maps(self, prediction: Int32, label: Int32) -> Maps:
        ignored = np.int32(self.benchmark.num_classes)
        sizes = region_sizes(label, int(ignored))
        return {f"size_{name}": (prediction, np.where(sizes == i, label, ignored)) for i, name in enumerate(SIZES)}

    @classmethod
    def values(cls, parts: Mapping[str, Counts]) -> dict[str, float]:
        """Return ``miou_<size>``: IoU over these pixels, mean over classes; ``recall_<size>``: share that is right."""
        found = {size: metrics_from_counts(parts[f"size_{size}"]) for size in SIZES}
        miou = {f"miou_{size}": metrics["miou_gt"] for size, metrics in found.items()}
        return {**miou, **{f"recall_{size}": metrics["pacc"] for size, metrics in found.items()}}
