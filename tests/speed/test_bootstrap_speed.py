"""A bootstrap of 2,000 images of 847 classes is seconds of one core. Run: pytest tests/speed --benchmark-only."""

from __future__ import annotations

import numpy as np
from in_turn import Seconds, least_seconds, turn_of
from pytest_benchmark.fixture import BenchmarkFixture

from repro.metrics.counts import Counts
from repro.stats.metrics import get_metric
from repro.stats.paired import estimate, sample_metrics
from repro.stats.resample import draw_images, resampled_totals

IMAGES, CLASSES, RESAMPLES = 2000, 847, 2000
COUNTED = 5
"""Resamples counted one by one, which stand for all of them."""
PRESENT = 40  # classes with ground truth or prediction in an image


def drawn_counts() -> Counts:
    rng = np.random.default_rng(0)
    often = 1 / np.arange(1, CLASSES + 1)
    classes = [np.sort(rng.choice(CLASSES, PRESENT, replace=False, p=often / often.sum())) for _ in range(IMAGES)]
    truth = rng.integers(0, 20_000, IMAGES * PRESENT)
    prediction = rng.integers(1, 20_000, IMAGES * PRESENT)
    return Counts(
        keys=tuple(map(str, range(IMAGES))),
        offsets=np.arange(IMAGES + 1) * PRESENT,
        classes=np.concatenate(classes),
        intersection=np.minimum(truth, prediction) // 2,
        ground_truth=truth,
        prediction=prediction,
        confusion=np.zeros((CLASSES, CLASSES), np.int64),
    )


def test_both_mious_with_intervals_take_less_than_counting_resample_after_resample(benchmark: BenchmarkFixture) -> None:
    counts, metrics = drawn_counts(), [get_metric("miou_gt"), get_metric("miou_union")]
    times = draw_images(IMAGES, RESAMPLES)

    def intervals() -> None:
        found = sample_metrics(counts, metrics, ["thing"] * CLASSES, times)
        for sampled in found.values():
            estimate([sampled])

    def count() -> None:
        for r in range(COUNTED):
            counts.subset_totals(times[:, r].astype(np.int64))

    def holds(s: Seconds) -> bool:
        return s["intervals"] < s["counted"] * RESAMPLES / COUNTED

    found = least_seconds(benchmark, turn_of({"intervals": intervals, "counted": count}), holds)
    benchmark.extra_info["times_faster"] = round(found["counted"] * RESAMPLES / COUNTED / found["intervals"], 2)


def test_sparse_products_are_faster_than_counting_every_resample(benchmark: BenchmarkFixture) -> None:
    counts, times = drawn_counts(), draw_images(IMAGES, RESAMPLES)

    def count() -> None:
        for r in range(COUNTED):
            counts.subset_totals(times[:, r].astype(np.int64))

    def holds(s: Seconds) -> bool:
        return 1.2 * s["products"] < s["counted"] * RESAMPLES / COUNTED

    turn = turn_of({"products": lambda: resampled_totals(counts, times), "counted": count})
    found = least_seconds(benchmark, turn, holds)
    benchmark.extra_info["times_faster"] = round(found["counted"] * RESAMPLES / COUNTED / found["products"], 2)
