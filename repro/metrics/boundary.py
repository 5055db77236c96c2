"""Boundary quality: Boundary IoU (Cheng et al., CVPR 2021) and mIoU in a trimap (Kohli et al., IJCV 2009).

Distances are chessboard distances, those of the published Boundary IoU code (d erosions by a 3 x 3 square). So the
bands of all classes come from one maximum and one minimum filter over the label map, whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.benchmarks import Benchmark
from repro.metrics.counts import Counts
from repro.metrics.measure import Int32, Maps, Measure
from repro.metrics.miou import metrics_from_totals

DILATION_RATIO = 0.02
"""Width of the boundary band as a share of the image diagonal (the default of the published code)."""
TRIMAP_WIDTHS = (2, 4, 8, 16)
"""Half-widths of the trimaps in pixels."""
BOUNDARY = "boundary_iou"

Mask = NDArray[np.bool_]


def band_width(height: int, width: int, ratio: float = DILATION_RATIO) -> int:
    """Return the width in pixels of the boundary band of an image: ``ratio`` times the diagonal, at least 1."""
    return max(1, round(ratio * (height**2 + width**2) ** 0.5))


def near_contour(labels: Int32, distance: int) -> Mask:
    """Return where a pixel with another label lies within ``distance`` (chessboard, pixels), (H, W)."""
    # OpenCV's rectangles are separable; float32 is exact for class numbers and the widest type it filters. Its default
    # border keeps the outside of the image from being anyone's neighbour.
    values = labels.astype(np.float32)
    kernel = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    return np.asarray((cv2.dilate(values, kernel) != values) | (cv2.erode(values, kernel) != values))


def boundary_band(labels: Int32, distance: int) -> Mask:
    """Return the pixels of every region within ``distance`` of its contour, (H, W); the image's edge is a contour.

    A class's own band, G_d intersected with G in the words of Cheng et al., is the band where the label is the class.
    """
    band = near_contour(labels, distance)
    edge = np.ones_like(band)
    edge[distance:-distance, distance:-distance] = False
    return band | edge


class BoundaryMeasure(Measure):
    """Counts inside boundary bands: part ``boundary_iou``, and ``trimap_<w>`` for each of ``TRIMAP_WIDTHS``.

    In ``boundary_iou`` the class after the last means "not near a contour". An ignored pixel belongs to no class, in
    the prediction as in the label: a prediction that is right wherever it is counted has Boundary IoU 1.
    """

    name: ClassVar[str] = "boundary"

    @classmethod
    def parts(cls, benchmark: Benchmark) -> dict[str, int]:
        n = benchmark.num_classes
        return {BOUNDARY: n + 1, **{f"trimap_{w}": n for w in TRIMAP_WIDTHS}}

    def maps(self, prediction: Int32, label: Int32) -> Maps:
        ignored = np.int32(self.benchmark.num_classes)
        inner = ignored  # in part boundary_iou, whose own ignored label is one more
        known, distance = label != ignored, band_width(*label.shape)
        cut = np.where(known, prediction, ignored)
        truth = np.where(boundary_band(label, distance), label, inner)
        predicted = np.where(boundary_band(cut, distance), cut, inner)
        maps = {BOUNDARY: (predicted, np.where(known, truth, ignored + 1))}
        for w in TRIMAP_WIDTHS:
            maps[f"trimap_{w}"] = (prediction, np.where(near_contour(label, w), label, ignored))
        return maps

    @classmethod
    def values(cls, parts: Mapping[str, Counts]) -> dict[str, float]:
        intersection, truth, predicted = (t[:-1] for t in parts[BOUNDARY].totals())
        trimaps = {f"trimap_{w}": metrics_from_totals(*parts[f"trimap_{w}"].totals()) for w in TRIMAP_WIDTHS}
        return {
            BOUNDARY: metrics_from_totals(intersection, truth, predicted)["miou_gt"],
            **{name: metrics["miou_gt"] for name, metrics in trimaps.items()},
        }
