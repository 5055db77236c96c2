"""The metrics an interval or a test is computed for: each a function of pixel totals, of named counts of a run.

A class that vanishes from a resample (no image with it was drawn) is treated as the metric treats a class that is
absent from the data: ``miou_gt`` averages over the classes with ground truth IN THE RESAMPLE, ``miou_union`` over those
with ground truth or prediction in it.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from repro.datasets.benchmarks import Benchmark
from repro.errors import known_as
from repro.metrics.boundary import BOUNDARY, TRIMAP_WIDTHS
from repro.metrics.counts import Counts
from repro.metrics.miou import divide
from repro.metrics.seen import SEEN, UNSEEN, class_groups
from repro.metrics.size import SIZES
from repro.stats.interval import finite
from repro.stats.resample import Float64, Totals, observed_totals

SEEN_METRICS = ("miou_seen", "miou_unseen")
COUNTS = "counts"
"""The per-image counts every evaluation has; other sources are the parts of a measure (repro.metrics.measured)."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number in 0..1 from totals: ``of`` maps them to one value per resample, (R,).

    ``source`` names the counts it needs; ``kind`` ("thing", "stuff", "seen", "unseen" or "") the classes.
    """

    name: str
    title: str
    source: str
    of: Callable[[Totals], Float64]
    kind: str = ""
    error: bool = False

    def __call__(self, totals: Totals, kinds: Sequence[str]) -> Float64:
        """Return the metric (R,) of ``totals`` over classes of ``kinds``; NaN where there is nothing to average.

        ``kinds`` are of each class the words that are true of it (:func:`repro.metrics.seen.class_groups`).
        """
        if self.kind:
            totals = totals.of(np.array([self.kind in k.split() for k in kinds]))
        return self.of(totals)


def miou_gt(totals: Totals) -> Float64:
    """Return the mean IoU over classes with ground truth in the resample, (R,)."""
    return _mean(np.where(totals.ground_truth > 0, totals.iou(), np.nan))


def miou_union(totals: Totals) -> Float64:
    """Return the mean IoU over classes with ground truth or a prediction in the resample, (R,)."""
    return _mean(totals.iou())


def boundary_iou(totals: Totals) -> Float64:
    """Return :func:`miou_gt` of counts in boundary bands, whose last class means "not near a contour", (R,)."""
    return miou_gt(totals.of(np.arange(len(totals.ground_truth)) < len(totals.ground_truth) - 1))


def pixel_recall(totals: Totals) -> Float64:
    """Return the share of labelled pixels that are predicted right, (R,)."""
    return divide(totals.intersection.sum(axis=0), totals.ground_truth.sum(axis=0))


def seen_metrics(counts: Counts, benchmark: Benchmark) -> dict[str, float | None]:
    """Return ``miou_seen`` and ``miou_unseen`` of ``counts``, fractions; None where the benchmark has no such class."""
    totals, groups = observed_totals(counts), class_groups(benchmark)
    return {name: finite(METRICS[name](totals, groups)[0]) for name in SEEN_METRICS}


def _missed(kind: int) -> Callable[[Totals], Float64]:
    def share(totals: Totals) -> Float64:
        truth = totals.ground_truth[kind]
        return divide(truth - totals.intersection[kind], truth)

    return share


def _mean(values: Float64) -> Float64:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample without any class is NaN, as intended
        return np.asarray(np.nanmean(values, axis=0)) if len(values) else np.full(values.shape[1], np.nan)


_ALL = (
    Metric("miou_gt", "mIoU over classes with ground truth", COUNTS, miou_gt),
    Metric("miou_union", "mIoU over classes with ground truth or prediction", COUNTS, miou_union),
    Metric("miou_gt_thing", "mIoU over thing classes with ground truth", COUNTS, miou_gt, "thing"),
    Metric("miou_gt_stuff", "mIoU over stuff classes with ground truth", COUNTS, miou_gt, "stuff"),
    Metric("miou_seen", "mIoU over classes with ground truth that COCO-Stuff has", COUNTS, miou_gt, SEEN),
    Metric("miou_unseen", "mIoU over classes with ground truth that COCO-Stuff has not", COUNTS, miou_gt, UNSEEN),
    Metric("boundary_iou", "mean Boundary IoU over classes with ground truth", BOUNDARY, boundary_iou),
    *(Metric(f"trimap_{w}", f"mIoU within {w} pixels of a contour", f"trimap_{w}", miou_gt) for w in TRIMAP_WIDTHS),
    Metric("stuff_as_thing", "share of stuff pixels predicted as things", "bias", _missed(1), error=True),
    Metric("thing_as_stuff", "share of thing pixels predicted as stuff", "bias", _missed(0), error=True),
    *(Metric(f"miou_{s}", f"mIoU within {s} regions", f"size_{s}", miou_gt) for s in SIZES),
    *(
        Metric(f"recall_{s}", f"share of pixels of {s} regions predicted right", f"size_{s}", pixel_recall)
        for s in SIZES
    ),
)
METRICS = {m.name: m for m in _ALL}
"""By name, in the order they are reported."""


def get_metric(name: str) -> Metric:
    """Return the metric called ``name``; UsageError with the nearest names otherwise."""
    return known_as("metric", name, METRICS, mend="repro compare --help")
