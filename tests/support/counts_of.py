"""Counts written down as arrays, for tests of what is computed from them."""

from __future__ import annotations

import numpy as np

from repro.metrics.counts import Counts


def counts_of(intersection: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> Counts:
    """Counts of images (rows) and classes (columns)."""
    images, classes = truth.shape
    present = (truth + prediction) > 0
    _, column = np.nonzero(present)
    return Counts(
        keys=tuple(str(i) for i in range(images)),
        offsets=np.cumsum([0, *present.sum(axis=1)]).astype(np.int64),
        classes=column.astype(np.int64),
        intersection=intersection[present].astype(np.int64),
        ground_truth=truth[present].astype(np.int64),
        prediction=prediction[present].astype(np.int64),
        confusion=np.zeros((classes, classes), np.int64),
    )
