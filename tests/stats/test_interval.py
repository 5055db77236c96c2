"""Intervals and p-values: closed forms, limits, and agreement with each other."""

from __future__ import annotations

import numpy as np
import pytest
from counts_of import counts_of
from scipy import stats

from repro.metrics.counts import Counts
from repro.stats.interval import calibrated_interval, holm, percentile_interval, seed_spread, two_level, two_sided_p
from repro.stats.metrics import get_metric
from repro.stats.paired import class_differences, difference, estimate, interval_of, pair_seeds, sample_metrics
from repro.stats.resample import draw_images

NAN = float("nan")


def one_class(seed: int, images: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Intersection and union of images of one class; the prediction lies within the ground truth."""
    rng = np.random.default_rng(seed)
    union = rng.integers(500, 1500, images)
    return np.floor(union * rng.beta(6, 3, images)).astype(np.int64), union


def sampled(counts: Counts, name: str = "miou_gt", resamples: int = 2000):
    kinds = ["thing"] * counts.num_classes
    return sample_metrics(counts, [get_metric(name)], kinds, draw_images(len(counts), resamples))[name]


def ratio_error(i: np.ndarray, u: np.ndarray) -> float:
    """Standard error of a ratio of sums by linearisation (Cochran 1977, 2.11)."""
    n = len(i)
    residual = i - i.sum() / u.sum() * u
    return float(np.sqrt(n / (n - 1) * (residual**2).sum()) / u.sum())


def test_one_class_has_the_interval_of_the_ratio_estimator():
    i, u = one_class(0)
    found = interval_of(counts_of(i[:, None], u[:, None], i[:, None]), get_metric("miou_gt"), ["thing"])
    assert found.value == pytest.approx(i.sum() / u.sum())
    half = stats.norm.ppf(0.975) * ratio_error(i, u)
    assert found.low == pytest.approx(found.value - half, abs=0.1 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.1 * half)


def test_a_paired_difference_of_one_class_has_the_interval_of_the_ratio_of_differences():
    i, u = one_class(1)
    better = np.minimum(u, i + np.random.default_rng(2).integers(0, 40, len(u)))
    a, b = (sampled(counts_of(x[:, None], u[:, None], x[:, None])) for x in (better, i))
    found = difference([a], [b])
    half = stats.norm.ppf(0.975) * ratio_error(better - i, u)
    assert found.difference.low == pytest.approx(found.difference.value - half, abs=0.1 * half)
    assert found.difference.high == pytest.approx(found.difference.value + half, abs=0.1 * half)
    # Pairing is the point: alone, either run is an order of magnitude less certain.
    assert half < 0.2 * (estimate([a])[0].high - estimate([a])[0].low)


def test_images_that_are_all_alike_leave_no_width():
    ones = np.ones((30, 3), np.int64)
    a, b = counts_of(40 * ones, 100 * ones, 50 * ones), counts_of(30 * ones, 100 * ones, 40 * ones)
    found = estimate([sampled(a)])[0]
    assert (found.low, found.high) == pytest.approx((found.value, found.value), abs=1e-12)
    paired = difference([sampled(a)], [sampled(b)])
    assert paired.difference.low == pytest.approx(paired.difference.high)
    assert paired.p == pytest.approx(2 / 2001)


def test_a_run_does_not_differ_from_itself():
    i, u = one_class(3)
    s = sampled(counts_of(i[:, None], u[:, None], i[:, None]))
    found = difference([s], [s])
    assert (found.difference.value, found.difference.low, found.difference.high, found.p) == (0, 0, 0, 1)


def test_p_is_below_a_twentieth_where_the_interval_leaves_zero_out():
    rng = np.random.default_rng(4)
    for shift in np.linspace(-4, 4, 41):
        samples = rng.standard_normal(2000) + shift
        low, high = percentile_interval(samples)
        p = two_sided_p(samples)
        if abs(p - 0.05) > 0.002:
            assert (p < 0.05) == (low > 0 or high < 0)


def test_a_class_that_vanishes_from_a_resample_is_left_out_of_its_mean():
    truth = np.array([[100, 0], [100, 0], [100, 50]])
    hit = np.array([[60, 0], [60, 0], [60, 50]])
    counts = counts_of(hit, truth, hit)
    times = np.array([[3.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    metrics = [get_metric("miou_gt"), get_metric("miou_union")]
    found = sample_metrics(counts, metrics, ["thing", "stuff"], times)
    assert found["miou_gt"].samples.tolist() == pytest.approx([0.6, (0.6 + 1) / 2])


def test_a_class_predicted_but_never_true_counts_in_miou_union_only_where_it_was_drawn():
    truth, predicted = np.array([[100, 0], [100, 0]]), np.array([[100, 0], [90, 10]])
    counts = counts_of(np.array([[100, 0], [90, 0]]), truth, predicted)
    times = np.array([[2.0, 1.0], [0.0, 1.0]])
    found = sample_metrics(counts, [get_metric("miou_gt"), get_metric("miou_union")], ["thing", "stuff"], times)
    assert found["miou_gt"].samples.tolist() == pytest.approx([1, 0.95])
    assert found["miou_union"].samples.tolist() == pytest.approx([1, 0.475])


def test_thing_and_stuff_apart_are_the_means_over_their_classes():
    truth = np.array([[100, 100, 100]])
    hit = np.array([[50, 80, 30]])
    kinds = ["thing", "stuff", "thing"]
    metrics = [get_metric("miou_gt_thing"), get_metric("miou_gt_stuff")]
    found = sample_metrics(counts_of(hit, truth, hit), metrics, kinds, draw_images(1, 100))
    assert found["miou_gt_thing"].value == pytest.approx(0.4)
    assert found["miou_gt_stuff"].value == pytest.approx(0.8)


def test_resamples_without_a_number_are_left_out_and_none_at_all_gives_none():
    assert percentile_interval(np.array([NAN, 1.0, 1.0])) == (1, 1)
    assert np.isnan(percentile_interval(np.array([NAN]))).all()
    assert np.isnan(two_sided_p(np.array([NAN])))
    assert np.isnan(calibrated_interval(NAN, np.array([NAN]), np.array([NAN]))).all()


def test_holm_equals_the_step_down_worked_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]


def test_a_test_without_a_number_is_no_member_of_the_family():
    corrected = holm([0.02, NAN, 0.03])
    assert corrected[::2] == pytest.approx([0.04, 0.04])
    assert np.isnan(corrected[1])


def test_seeds_alone_give_students_interval():
    values = [0.30, 0.32, 0.37]
    found, p = two_level(values, np.zeros(500), images=100)
    half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_equal_seeds_give_the_interval_of_the_images():
    samples = np.random.default_rng(0).normal(0.3, 0.01, 20_000)
    found, _ = two_level([0.3, 0.3, 0.3], samples, images=200)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, 199) * 0.01, rel=0.02)


@pytest.mark.filterwarnings("error")
def test_a_measure_the_images_do_not_have_is_nan_without_a_warning():
    found, p = two_level([NAN, NAN, NAN], np.full(500, NAN), images=100)
    assert np.isnan([found.value, found.low, found.high, p]).all()


def test_two_seeds_that_disagree_make_the_interval_wider_than_the_images_alone():
    samples = np.random.default_rng(0).normal(0.3, 0.01, 2000)
    wide, narrow = (two_level(v, samples, 100)[0] for v in ([0.28, 0.32], [0.3, 0.3]))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_one_seed_has_no_spread():
    assert np.isnan(seed_spread([0.3]).sd)
    assert seed_spread([0.2, 0.4]).sd == pytest.approx(np.sqrt(0.02))


def test_seeds_are_paired_by_their_number_and_a_single_run_with_each():
    assert pair_seeds({0: "a", 1: "b", 5: "c"}, {1: "x", 0: "y"}) == (["a", "b"], ["y", "x"])
    assert pair_seeds({0: "a", 1: "b"}, {7: "x"}) == (["a", "b"], ["x", "x"])
    assert pair_seeds({0: "a", 1: "b"}, {2: "x", 3: "y"}) is None


def test_class_differences_are_those_of_the_iou_and_none_for_absent_classes():
    truth = np.tile([100, 100, 0], (20, 1))
    a = counts_of(truth * [0.5, 0.8, 0], truth, truth * [0.5, 0.8, 0])
    b = counts_of(truth * [0.4, 0.8, 0], truth, truth * [0.4, 0.8, 0])
    found = class_differences([a], [b], draw_images(20, 200))
    assert found[0].difference.value == pytest.approx(0.1)
    assert found[0].p < 0.05
    assert (found[1].difference.value, found[1].p) == (0, 1)
    assert np.isnan(found[2].difference.value)
