"""What is derived from integer counts: both mIoU conventions and their companions, as fractions in 0..1.

``miou_gt`` averages IoU over classes with ground truth (detectron2's SemSegEvaluator since commit f3c1bc19),
``miou_union`` over classes with ground truth or a prediction (detectron2 v0.6, mmsegmentation's IoUMetric): see
docs/specs/benchmarks.md. They differ by more than any gain the papers claim, so neither is ever called just "mIoU".
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.metrics.counts import Counts, Int64

Float64 = NDArray[np.float64]

METRICS = ("miou_gt", "miou_union", "fwiou", "macc", "pacc")
"""The aggregate metrics, in the order they are reported."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClassScores:
    """Per class, (num_classes,) float64, NaN without ground truth: ``iou`` (or prediction), ``accuracy``."""

    iou: Float64
    accuracy: Float64


def class_scores(intersection: Int64, ground_truth: Int64, prediction: Int64) -> ClassScores:
    """Return IoU and accuracy of each class from pixel counts, each (num_classes,)."""
    union = ground_truth + prediction - intersection
    return ClassScores(iou=divide(intersection, union), accuracy=divide(intersection, ground_truth))


def metrics_from_totals(intersection: Int64, ground_truth: Int64, prediction: Int64) -> dict[str, float]:
    """Return ``miou_gt``, ``miou_union``, ``fwiou``, ``macc`` and ``pacc`` in 0..1; NaN with nothing to average."""
    scores = class_scores(intersection, ground_truth, prediction)
    has_truth = ground_truth > 0
    present = has_truth | (prediction > 0)
    pixels = int(ground_truth.sum())
    return {
        "miou_gt": _mean(scores.iou[has_truth]),
        "miou_union": _mean(scores.iou[present]),
        "fwiou": float(np.sum(scores.iou[has_truth] * ground_truth[has_truth])) / pixels if pixels else float("nan"),
        "macc": _mean(scores.accuracy[has_truth]),
        "pacc": int(intersection.sum()) / pixels if pixels else float("nan"),
    }


def metrics_from_counts(counts: Counts) -> dict[str, float]:
    """Compute :func:`metrics_from_totals` over all images of ``counts``."""
    return metrics_from_totals(*counts.totals())


def describe_counts(counts: Counts, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return all metrics and one entry per class as JSON values (None where a number does not exist).

    Raises ValueError when ``class_names`` are not as many as the classes counted.
    """
    totals = counts.totals()
    scores = class_scores(*totals)
    rows = zip(class_names, scores.iou, scores.accuracy, *totals, strict=True)
    return {
        **{name: _json(value) for name, value in metrics_from_totals(*totals).items()},
        "classes_with_ground_truth": int((totals[1] > 0).sum()),
        "classes_with_ground_truth_or_prediction": int((totals[1] + totals[2] > 0).sum()),
        "pixels": int(totals[1].sum()),
        "per_class": [
            {
                "name": name,
                "iou": _json(iou),
                "accuracy": _json(accuracy),
                "intersection": int(intersection),
                "ground_truth": int(truth),
                "prediction": int(predicted),
            }
            for name, iou, accuracy, intersection, truth, predicted in rows
        ],
    }


def divide(numerator: NDArray[Any], denominator: NDArray[Any]) -> Float64:
    """Divide counts of one shape; NaN where there is nothing to divide by."""
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _mean(values: Float64) -> float:
    return float(values.mean()) if values.size else float("nan")


def _json(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
