"""Detection of a class by a map, against scikit-learn's definition spelled out over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from repro.maps.measure import CHANCE, KINDS, MapScores, figure_names, image_figures
from repro.maps.scores import detect, overlap, pixels_by_token, token_of_pixels


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Sum over thresholds of (R_n - R_{n-1}) P_n, by a loop over the distinct scores of single pixels."""
    value, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        kept = scores >= threshold
        recall = (truth & kept).sum() / truth.sum()
        value += (recall - before) * (truth & kept).sum() / kept.sum()
        before = recall
    return value


def best_iou(scores: np.ndarray, truth: np.ndarray) -> float:
    return max((truth & (scores >= t)).sum() / (truth | (scores >= t)).sum() for t in set(scores.tolist()))


@pytest.mark.parametrize("size", [(24, 36), (23, 31), (5, 7)])
def test_figures_by_token_are_those_of_single_pixels(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    grid, classes = (4, 6), 3
    label = rng.integers(0, classes + 1, size)
    label[label == classes] = 255
    scores = rng.integers(0, 5, grid).astype(float)  # many ties
    tokens = pixels_by_token(label, classes, grid)
    assert tokens.sum() == label.size
    pixel_scores, labelled = scores.ravel()[token_of_pixels(size, grid)], label < classes
    for c in range(classes):
        found = detect(scores.ravel(), tokens[:, c], tokens[:, :classes].sum(axis=1))
        truth = (label == c)[labelled]
        assert found.average_precision == pytest.approx(average_precision(pixel_scores[labelled], truth), abs=1e-12)
        assert found.best_iou == pytest.approx(best_iou(pixel_scores[labelled], truth), abs=1e-12)
        mask = scores.ravel() > 2
        inside = mask[token_of_pixels(size, grid)][labelled]
        iou = overlap(mask, tokens[:, c], tokens[:, :classes].sum(axis=1))
        assert iou == pytest.approx((truth & inside).sum() / (truth | inside).sum(), abs=1e-12)


def test_pixels_lie_in_the_token_nearest_to_their_centre() -> None:
    assert token_of_pixels((4, 2), (2, 2)).tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert token_of_pixels((1, 3), (1, 2)).tolist() == [[0, 1, 1]]  # the middle's centre is the border


def test_perfect_map_has_one_and_a_constant_one_has_the_share_of_the_class() -> None:
    own, labelled = np.array([0, 4, 4, 0]), np.array([4, 4, 4, 4])
    assert detect(np.array([0.1, 0.8, 0.9, 0.0]), own, labelled).average_precision == 1
    assert detect(np.array([0.1, 0.8, 0.9, 0.0]), own, labelled).best_iou == 1
    assert detect(np.zeros(4), own, labelled).average_precision == 0.5
    with pytest.raises(ValueError, match="no pixel"):
        detect(np.zeros(4), np.zeros(4, np.int64), labelled)


def test_tokens_without_a_label_change_nothing() -> None:
    own, labelled = np.array([0, 2, 0, 4]), np.array([0, 4, 4, 4])
    whole = detect(np.array([9.0, 1, 2, 3]), own, labelled)
    assert whole == detect(np.array([1.0, 2, 3]), own[1:], labelled[1:])
    assert overlap(np.array([True, False, False, False]), np.zeros(4, np.int64), labelled) == 0


def test_sums_go_to_the_kind_of_the_class_and_means_over_classes_follow() -> None:
    label = np.repeat(np.repeat([[0, 1], [1, 255]], 4, axis=0), 4, axis=1)
    saliency = np.stack([np.array([[1.0, 0], [0, 0]]), np.array([[1.0, 0], [0, 0]])])
    maps = {"saliency": saliency, "foreground": saliency}
    assert figure_names(maps) == ("saliency_ap", "saliency_best_iou", "foreground_iou", CHANCE)
    sums, counts = image_figures(maps, label, 2, [KINDS.index("thing"), KINDS.index("stuff")])
    assert counts.tolist() == [1, 1]
    # Class 0 is the salient quarter; class 1 is every other labelled token.
    np.testing.assert_allclose(sums[:, 0], [1, 1, 1, 1 / 3])
    np.testing.assert_allclose(sums[:, 1], [2 / 3, 2 / 3, 0, 2 / 3])
    scores = MapScores(figure_names(maps), np.stack([sums, 3 * sums], axis=1), np.stack([counts, 3 * counts]))
    assert scores.mean("foreground_iou")[0] == 0.5
    assert scores.mean("saliency_ap", "stuff")[0] == pytest.approx(2 / 3)
    only_things = MapScores(scores.names, scores.sums, scores.pairs * [1, 0])
    assert np.isnan(only_things.mean("saliency_ap", "stuff")[0])
    assert scores.mean(CHANCE, None, np.array([[2.0, 0.0], [0.0, 0.0]])) == pytest.approx([0.5, np.nan], nan_ok=True)
