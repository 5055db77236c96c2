"""Measured coverage: how often an interval holds the value that is known because it was put in (docs/statistics.md)."""

from __future__ import annotations

import numpy as np
import pytest
from counts_of import counts_of

from repro.stats.metrics import Metric, get_metric
from repro.stats.paired import Sampled, difference, estimate, sample_metrics
from repro.stats.resample import draw_images

METRICS = [get_metric("miou_gt"), get_metric("miou_union")]
IMAGES, CLASSES, RESAMPLES = 150, 40, 400
OFTEN = np.geomspace(0.3, 0.01, CLASSES)  # the rarest class is in one or two of the images


def draw(rng: np.random.Generator, images: int, gain: float = 0.0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Ground truth (images, classes) and for two methods intersection and prediction; ``gain`` is the second's."""
    truth = np.where(rng.random((images, CLASSES)) < OFTEN, np.ceil(rng.lognormal(6, 1, (images, CLASSES))), 0)
    common = np.linspace(-2, 2, CLASSES) + rng.normal(0, 1, (images, 1))
    maps = []
    for shift in (0.0, gain):
        score = common + rng.normal(0, 0.8, truth.shape) + shift
        hit = np.floor(truth / (1 + np.exp(-score)))
        stray = np.where(rng.random(truth.shape) < 0.1, np.ceil(rng.lognormal(4.5, 1, truth.shape)), 0)
        maps += [hit, hit + stray]
    return truth, maps


def truth_of(gain: float) -> tuple[dict[str, float], dict[str, float]]:
    """What sets of this size have on average: the metrics of the first method, and the differences."""
    rng = np.random.default_rng(99)
    values = []
    for _ in range(1500):
        truth, (hit_a, pred_a, hit_b, pred_b) = draw(rng, IMAGES, gain)
        both = []
        for hit, pred in ((hit_a, pred_a), (hit_b, pred_b)):
            i, g, p = hit.sum(0), truth.sum(0), pred.sum(0)
            iou = i / np.maximum(g + p - i, 1)
            both.append((iou[g > 0].mean(), iou[g + p > 0].mean()))
        values.append(both)
    mean = np.mean(values, axis=0)
    names = [m.name for m in METRICS]
    return dict(zip(names, mean[0], strict=True)), dict(zip(names, mean[1] - mean[0], strict=True))


def sampled(truth: np.ndarray, hit: np.ndarray, pred: np.ndarray, times: np.ndarray, metrics: list[Metric]):
    counts = counts_of(hit.astype(np.int64), truth.astype(np.int64), pred.astype(np.int64))
    found: dict[str, Sampled] = sample_metrics(counts, metrics, ["thing"] * CLASSES, times)
    return found


@pytest.mark.slow  # about 30 s: 300 sets of 150 images
@pytest.mark.parametrize("gain", [0.0, 0.15], ids=["no difference", "a difference"])
def test_intervals_cover_and_the_test_keeps_its_level(gain: float):
    value, gained = truth_of(gain)
    rng, repeats = np.random.default_rng(int(100 * gain)), 300
    hits = {(kind, m.name): 0 for kind in ("single", "paired") for m in METRICS}
    rejected = dict.fromkeys([m.name for m in METRICS], 0)
    for repeat in range(repeats):
        truth, (hit_a, pred_a, hit_b, pred_b) = draw(rng, IMAGES, gain)
        times = draw_images(IMAGES, RESAMPLES, seed=repeat)
        a, b = sampled(truth, hit_a, pred_a, times, METRICS), sampled(truth, hit_b, pred_b, times, METRICS)
        for m in METRICS:
            single, paired = estimate([a[m.name]])[0], difference([b[m.name]], [a[m.name]])
            hits["single", m.name] += single.low <= value[m.name] <= single.high
            hits["paired", m.name] += paired.difference.low <= gained[m.name] <= paired.difference.high
            rejected[m.name] += paired.p < 0.05
    shares = {key: n / repeats for key, n in hits.items()}
    print(shares, {k: n / repeats for k, n in rejected.items()})
    # The standard error of a share at 0.95 is 0.013.
    assert all(0.91 <= share <= 0.99 for share in shares.values()), shares
    if gain == 0:
        assert all(n / repeats <= 0.09 for n in rejected.values()), rejected
