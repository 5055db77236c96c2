"""Resampled pixel totals: per-image counts times how often each image was drawn, for all resamples at once.

An image has pixels of a few dozen of 847 classes, so the sums over resamples are products of a sparse matrix (class,
image) with a dense one (image, resample).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from repro.metrics.counts import Counts, Int64
from repro.metrics.miou import divide

Float64 = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Totals:
    """Pixels per class in each of R resamples: ``intersection``, ``ground_truth``, ``prediction``, each (C, R).

    Whole numbers in float64, exact below 2^53 pixels.
    """

    intersection: Float64
    ground_truth: Float64
    prediction: Float64

    def of(self, classes: NDArray[np.bool_]) -> Totals:
        """Keep only the ``classes`` (C,) that are True."""
        return Totals(self.intersection[classes], self.ground_truth[classes], self.prediction[classes])

    def iou(self) -> Float64:
        """Return IoU (C, R); NaN where a class has neither ground truth nor prediction in a resample."""
        return divide(self.intersection, self.ground_truth + self.prediction - self.intersection)


def draw_images(images: int, resamples: int, seed: int = 0) -> Float64:
    """Return how often each image is drawn, (images, resamples): each column has sum ``images`` (with replacement).

    The same for equal arguments, so that two methods are resampled alike. Raises ValueError for no image.
    """
    if images < 1:
        raise ValueError("no image to draw from")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, images, (resamples, images))
    drawn += np.arange(resamples)[:, None] * images
    times = np.bincount(drawn.ravel(), minlength=resamples * images).reshape(resamples, images)
    return np.ascontiguousarray(times.T, dtype=np.float64)


def resampled_totals(counts: Counts, times: Float64) -> Totals:
    """Return totals of ``counts`` with image i counted ``times[i, r]`` times in resample r; ``times`` (images, R)."""
    shape = (counts.num_classes, len(counts))
    image = np.repeat(np.arange(len(counts)), np.diff(counts.offsets))

    def total(values: Int64) -> Float64:
        from scipy import sparse

        by_class = sparse.csr_array((values.astype(np.float64), (counts.classes, image)), shape=shape)
        return np.asarray(by_class @ times)

    return Totals(total(counts.intersection), total(counts.ground_truth), total(counts.prediction))


def observed_totals(counts: Counts) -> Totals:
    """Return the totals of all images, each once: (C, 1)."""
    return resampled_totals(counts, np.ones((len(counts), 1)))


def left_out_totals(counts: Counts) -> Totals:
    """Return the totals without image i in column i, for the jackknife: (C, images)."""
    shape = (counts.num_classes, len(counts))
    image = np.repeat(np.arange(len(counts)), np.diff(counts.offsets))

    def total(values: Int64) -> Float64:
        own = np.zeros(shape)
        own[counts.classes, image] = values  # an image names a class once
        return np.asarray(own.sum(axis=1, keepdims=True) - own)

    return Totals(total(counts.intersection), total(counts.ground_truth), total(counts.prediction))
