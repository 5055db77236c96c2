"""Boundary IoU and trimaps agree with the definitions computed mask by mask from distance transforms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from repro.datasets.benchmarks import get_benchmark
from repro.metrics.boundary import TRIMAP_WIDTHS, BoundaryMeasure, band_width, boundary_band

VOC = dataclasses.replace(get_benchmark("PAS-20"), id="test")
IGNORED = VOC.ignore_label


def blocks(rng: np.random.Generator, height: int, width: int, classes: int, size: int = 7) -> np.ndarray:
    coarse = rng.integers(0, classes, (-(-height // size), -(-width // size)))
    return coarse.repeat(size, 0).repeat(size, 1)[:height, :width]


def maps(seed: int, ignored: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(40, 70, 2)
    label = blocks(rng, height, width, 5)
    prediction = np.roll(label, rng.integers(0, 4, 2), (0, 1))
    prediction = np.where(rng.random(label.shape) < 0.05, rng.integers(0, 6, label.shape), prediction)
    if ignored:
        label = np.where(blocks(rng, height, width, 6, 5) == 0, IGNORED, label)
    return prediction.astype(np.int64), label.astype(np.uint8)


def inner_band(mask: np.ndarray, distance: int) -> np.ndarray:
    """Pixels of ``mask`` whose chessboard distance to the nearest pixel outside it, or the outside, is small."""
    far = ndimage.distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    return mask & (far <= distance)


def mean_boundary_iou(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int) -> float:
    """Cheng et al. (2021), equation 2, class by class, sums over images."""
    ious = []
    for c in range(classes):
        both = either = truth_pixels = 0
        for prediction, label in pairs:
            known = label != IGNORED
            distance = band_width(*label.shape)
            truth = inner_band((label == c) & known, distance)
            predicted = inner_band((prediction == c) & known, distance)
            both += (truth & predicted).sum()
            either += (truth | predicted).sum()
            truth_pixels += truth.sum()
        if truth_pixels:
            ious.append(both / either)
    return float(np.mean(ious))


def mean_trimap_iou(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int, width: int) -> float:
    intersection, union, truth_pixels = np.zeros(classes), np.zeros(classes), np.zeros(classes)
    for prediction, label in pairs:
        near = np.zeros(label.shape, bool)
        for value in np.unique(label):
            mask = label == value
            if not mask.all():
                near |= mask & (ndimage.distance_transform_cdt(mask, metric="chessboard") <= width)
        counted = near & (label != IGNORED)
        for c in range(classes):
            t, p = (label == c) & counted, (prediction == c) & counted
            intersection[c] += (t & p).sum()
            union[c] += (t | p).sum()
            truth_pixels[c] += t.sum()
    present = truth_pixels > 0
    return float((intersection[present] / union[present]).mean())


def measured(pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    measure = BoundaryMeasure(VOC)
    for i, (prediction, label) in enumerate(pairs):
        measure.add(str(i), prediction, label)
    return measure.values(measure.build())


@pytest.mark.parametrize("ignored", [False, True], ids=["all labelled", "some ignored"])
def test_boundary_iou_equals_the_definition_mask_by_mask(ignored: bool):
    pairs = [maps(seed, ignored) for seed in range(4)]
    assert measured(pairs)["boundary_iou"] == pytest.approx(mean_boundary_iou(pairs, 20), abs=1e-12)


@pytest.mark.parametrize("width", TRIMAP_WIDTHS)
def test_trimap_iou_equals_the_definition_mask_by_mask(width: int):
    pairs = [maps(seed) for seed in range(4)]
    assert measured(pairs)[f"trimap_{width}"] == pytest.approx(mean_trimap_iou(pairs, 20, width), abs=1e-12)


def test_a_band_is_what_erosions_by_a_square_take_away():
    mask = blocks(np.random.default_rng(1), 60, 50, 2, 11)
    for distance in (1, 3, 9):
        eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance)
        assert np.array_equal(boundary_band(mask.astype(np.int32), distance) & (mask == 1), (mask == 1) & ~eroded)


def test_a_perfect_prediction_has_boundary_iou_one_whatever_it_says_where_nothing_is_labelled():
    _, label = maps(3)
    prediction = np.where(label == IGNORED, 7, label).astype(np.int64)
    assert {name: value for name, value in measured([(prediction, label)]).items() if value != 1} == {}


def test_a_square_one_pixel_too_large_has_the_boundary_iou_of_the_two_rings():
    label = np.zeros((100, 100), np.uint8)
    label[30:70, 30:70] = 1
    prediction = np.zeros((100, 100), np.int64)
    prediction[29:71, 29:71] = 1
    d = band_width(100, 100)
    assert d == 3
    # Rings: 40^2 - 34^2 and 42^2 - 36^2 pixels, their common part 40^2 - 36^2.
    square = (40**2 - 36**2) / (40**2 - 34**2 + 42**2 - 36**2 - (40**2 - 36**2))
    outer = 100**2 - 94**2  # the image's edge, the same in both
    truth, predicted = 46**2 - 40**2, 48**2 - 42**2
    both = 46**2 - 42**2
    rest = (outer + both) / (outer + truth + predicted - both)
    assert measured([(prediction, label)])["boundary_iou"] == pytest.approx((square + rest) / 2)


def test_boundary_iou_sees_what_miou_of_a_large_object_hides():
    label = np.zeros((200, 200), np.uint8)
    label[20:180, 20:180] = 1
    prediction = np.zeros((200, 200), np.int64)
    prediction[23:183, 23:183] = 1
    values = measured([(prediction, label)])
    assert values["trimap_4"] < values["trimap_8"] < values["trimap_16"]
    assert values["boundary_iou"] < 0.6


def test_folded_predictions_are_background_before_contours_are_sought():
    voc_b = get_benchmark("PAS-20b")
    label = np.full((40, 40), 20, np.uint8)
    label[10:20, 10:20] = 3
    prediction = np.random.default_rng(0).integers(20, 59, (40, 40))
    prediction[10:20, 10:20] = 3
    measure = BoundaryMeasure(voc_b)
    measure.add("a", prediction, label)
    assert measure.values(measure.build())["boundary_iou"] == 1


def test_an_image_smaller_than_its_band_is_all_band():
    assert boundary_band(np.zeros((3, 4), np.int32), 5).all()
