"""A map as a detector of the pixels of one class, whatever its scale: no threshold is taken from anywhere.

Every pixel has the value of the token it lies in (nearest neighbour), so that all figures follow from two numbers a
token: its labelled pixels, and those of the class.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Detection:
    """How one map finds one class in one image; fractions."""

    average_precision: float
    """Area under precision over recall as a step function, as scikit-learn has it; pixels of one value together."""
    best_iou: float
    """Intersection over union at the threshold that suits this image and class best."""


def token_of_pixels(size: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.int64]:
    """Return the index (H, W) of the token of a ``grid`` (h, w) that each pixel centre of ``size`` (H, W) lies in."""
    rows, columns = ((np.arange(n) * 2 + 1) * g // (2 * n) for n, g in zip(size, grid, strict=True))
    return np.asarray(rows[:, None] * grid[1] + columns)


def pixels_by_token(label: NDArray[np.integer], classes: int, grid: tuple[int, int]) -> NDArray[np.int64]:
    """Return pixels (h w, classes + 1) of each class in each token; the last column counts those of any other label."""
    tokens = token_of_pixels(label.shape, grid)
    values = np.where((label >= 0) & (label < classes), label, classes).astype(np.int64)
    cells = grid[0] * grid[1]
    return np.bincount((tokens * (classes + 1) + values).ravel(), minlength=cells * (classes + 1)).reshape(cells, -1)


def detect(scores: Float64, own: NDArray[np.int64], labelled: NDArray[np.int64]) -> Detection:
    """Measure how ``scores`` (tokens,) find the ``own`` pixels of a class among the ``labelled`` ones of each token.

    Raises ValueError where the class has no pixel.
    """
    total = int(own.sum())
    if total < 1:
        raise ValueError("the class has no pixel in this image")
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=np.nan))  # the last token of each distinct value
    hits, found = own[order].cumsum()[last], labelled[order].cumsum()[last]
    hits, found = hits[found > 0], found[found > 0]
    precision = hits / found
    gained = np.diff(hits, prepend=0) / total
    return Detection(float((precision * gained).sum()), float((hits / (total + found - hits)).max()))


def overlap(mask: NDArray[np.bool_], own: NDArray[np.int64], labelled: NDArray[np.int64]) -> float:
    """Return intersection over union of the tokens in ``mask`` (tokens,) and the ``own`` pixels of a class; else 0."""
    hits = int(own[mask].sum())
    union = int(own.sum() + labelled[mask].sum()) - hits
    return hits / union if union else 0.0
