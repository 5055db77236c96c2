"""Resampled totals are what counting every drawn image again would give."""

from __future__ import annotations

import numpy as np
import pytest
from fake_runs import draw_counts

from repro.datasets.benchmarks import get_benchmark
from repro.stats.resample import draw_images, left_out_totals, observed_totals, resampled_totals

COUNTS = draw_counts(get_benchmark("A-150"), 17, 0.5)


def test_every_resample_draws_as_many_images_as_there_are():
    times = draw_images(40, 300)
    assert times.shape == (40, 300)
    assert (times.sum(axis=0) == 40).all()
    assert times.mean() == 1
    # Multinomial: variance (1 - 1/n) of each count.
    assert times.var() == pytest.approx(1 - 1 / 40, rel=0.1)


def test_draws_are_the_same_for_every_method_and_differ_by_seed():
    assert np.array_equal(draw_images(9, 20), draw_images(9, 20))
    assert not np.array_equal(draw_images(9, 20), draw_images(9, 20, seed=1))


def test_resampled_totals_equal_the_counts_added_up_image_by_image():
    times = draw_images(len(COUNTS), 25)
    totals = resampled_totals(COUNTS, times)
    for r in range(25):
        expected = COUNTS.subset_totals(times[:, r].astype(np.int64))
        for ours, theirs in zip((totals.intersection, totals.ground_truth, totals.prediction), expected, strict=True):
            assert np.array_equal(ours[:, r], theirs)


def test_left_out_totals_are_those_of_the_other_images():
    totals = left_out_totals(COUNTS)
    for i in range(len(COUNTS)):
        others = np.ones(len(COUNTS), np.int64)
        others[i] = 0
        expected = COUNTS.subset_totals(others)
        for ours, theirs in zip((totals.intersection, totals.ground_truth, totals.prediction), expected, strict=True):
            assert np.array_equal(ours[:, i], theirs)


def test_observed_totals_are_the_totals():
    assert np.array_equal(observed_totals(COUNTS).intersection[:, 0], COUNTS.totals()[0])


def test_there_must_be_an_image():
    with pytest.raises(ValueError, match="no image"):
        draw_images(0, 10)
