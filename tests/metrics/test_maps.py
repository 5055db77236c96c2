"""Detection of a class by a map, against scikit-learn's definition spelled out over pixels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from repro.evaluation.maps import CHANCE, GROUPS, MapScores, figure_names, foreground_figures, image_figures
from repro.metrics.maps import detect, overlap, pixels_by_token, token_of_pixels


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


MAP = np.array([[1.0, 0], [0, 0]])
THING_SEEN, STUFF_UNSEEN = GROUPS.index("thing seen"), GROUPS.index("stuff unseen")


def two_classes() -> tuple[dict[str, np.ndarray], MapScores]:
    """Class 0 is the salient quarter of an image, class 1 its other labelled tokens; a second image thrice that."""
    label = np.repeat(np.repeat([[0, 1], [1, 255]], 4, axis=0), 4, axis=1)
    maps = {"saliency": np.stack([MAP, MAP]), "foreground": np.stack([MAP, MAP])}
    sums, counts = image_figures(maps, label, 2, [THING_SEEN, STUFF_UNSEEN])
    assert counts.tolist() == [int(i in (THING_SEEN, STUFF_UNSEEN)) for i in range(len(GROUPS))]
    np.testing.assert_allclose(sums[:, THING_SEEN], [1, 1, 1, 1 / 3])
    np.testing.assert_allclose(sums[:, STUFF_UNSEEN], [2 / 3, 2 / 3, 0, 2 / 3])
    scenes = np.array([[0.5, np.nan], [0.25, np.nan]])
    both = np.stack([sums, 3 * sums], axis=1), np.stack([counts, 3 * counts])
    return maps, MapScores(figure_names(maps), *both, GROUPS, scenes)


def test_sums_go_to_the_group_of_the_class_and_means_over_classes_follow() -> None:
    maps, scores = two_classes()
    assert figure_names(maps) == ("saliency_ap", "saliency_best_iou", "foreground_iou", CHANCE)
    assert scores.mean("foreground_iou")[0] == 0.5
    for kind in ("stuff", "unseen"):
        assert scores.mean("saliency_ap", kind)[0] == pytest.approx(2 / 3)
    for kind in ("thing", "seen"):
        assert scores.mean("saliency_ap", kind)[0] == 1
    only_things = dataclasses.replace(scores, pairs=scores.pairs * (np.arange(len(GROUPS)) == THING_SEEN))
    assert np.isnan(only_things.mean("saliency_ap", "stuff")[0])
    assert scores.mean(CHANCE, None, np.array([[2.0, 0.0], [0.0, 0.0]])) == pytest.approx([0.5, np.nan], nan_ok=True)


def test_figures_of_scenes_are_means_over_the_images_that_have_them() -> None:
    scores = two_classes()[1]
    assert scores.mean("foreground_ap")[0] == 0.5
    assert scores.mean("foreground_chance_ap", None, np.array([[3.0, 0.0], [1.0, 2.0]])) == pytest.approx(
        [0.25, np.nan], nan_ok=True
    )
    assert np.isnan(scores.mean("foreground_ap", "thing")[0])


def test_scores_come_back_as_they_were_stored_and_those_of_earlier_versions_are_read(tmp_path: Path) -> None:
    scores = two_classes()[1]
    scores.save(tmp_path / "now.npz")
    again = MapScores.load(tmp_path / "now.npz")
    assert (again.names, again.groups) == (scores.names, GROUPS)
    for name in ("sums", "pairs", "scenes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scores, name))
    chosen = [THING_SEEN, STUFF_UNSEEN]
    earlier = {"names": np.array(scores.names), "sums": scores.sums[:, :, chosen], "pairs": scores.pairs[:, chosen]}
    np.savez_compressed(tmp_path / "then.npz", **earlier)
    then = MapScores.load(tmp_path / "then.npz")
    for kind in (None, "thing", "stuff"):
        assert then.mean("saliency_ap", kind)[0] == scores.mean("saliency_ap", kind)[0]
    assert np.isnan(then.mean("saliency_ap", "seen")[0])
    assert not then.has("foreground_ap")
    assert scores.has("foreground_ap")


@pytest.mark.parametrize("size", [(24, 36), (23, 31)])
def test_foreground_figures_are_those_of_single_pixels(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    label = rng.integers(0, 6, size)  # 3: folded background, 4: nowhere in the evaluation, 5: not in this image
    label[label == 4] = 255
    label[label == 5] = 1
    saliency = rng.integers(0, 6, (4, 4, 6)).astype(float)
    things = [True, False, True, False]
    ap, chance = foreground_figures({"saliency": saliency, "correlation": -saliency}, label, 3, things)
    labelled, thing = label < 4, np.isin(label, (0, 2))
    highest = saliency[:3].max(axis=0).ravel()[token_of_pixels(size, (4, 6))]
    assert ap == pytest.approx(average_precision(highest[labelled], thing[labelled]), abs=1e-12)
    assert chance == pytest.approx(thing[labelled].mean())
    alone, _ = foreground_figures({"correlation": saliency}, label, 3, things)
    assert alone == ap


def test_foreground_goes_by_the_classes_that_are_there_in_any_order() -> None:
    label = np.array([[0, 0, 1, 1]] * 2)
    rng = np.random.default_rng(0)
    maps = rng.random((3, 2, 4))
    found = foreground_figures({"saliency": maps}, label, 3, [True, False, True])
    other = maps.copy()
    other[2] = 9  # of a class that is not in the image
    np.testing.assert_array_equal(found, foreground_figures({"saliency": other}, label, 3, [True, False, True]))
    turned = foreground_figures({"saliency": maps[[1, 0, 2]]}, 1 - label, 3, [False, True, True])
    np.testing.assert_array_equal(found, turned)
    perfect = np.stack([(label == 0).astype(float), np.zeros(label.shape), np.zeros(label.shape)])
    np.testing.assert_array_equal(foreground_figures({"saliency": perfect}, label, 3, [True, False, True]), [1, 0.5])
    constant = np.ones((3, 2, 4))
    np.testing.assert_array_equal(foreground_figures({"saliency": constant}, label, 3, [True, False, True]), [0.5, 0.5])


@pytest.mark.parametrize("things", [[True, True], [False, False]])
def test_an_image_of_things_alone_or_of_stuff_alone_has_no_foreground_figure(things: list[bool]) -> None:
    label = np.array([[0, 0, 1, 255]])
    assert np.isnan(foreground_figures({"saliency": np.ones((2, 1, 4))}, label, 2, things)).all()
    assert np.isnan(foreground_figures({"foreground": np.ones((2, 1, 4))}, label, 2, [True, False])).all()
