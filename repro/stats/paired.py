"""Intervals of single runs and of paired differences: over images, and over seeds where there are several."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from repro.metrics.counts import Counts
from repro.stats import RESAMPLES
from repro.stats.interval import (
    Estimate,
    SeedSpread,
    calibrated_interval,
    percentile_interval,
    seed_spread,
    two_level,
    two_sided_p,
)
from repro.stats.metrics import Metric
from repro.stats.resample import Float64, draw_images, left_out_totals, observed_totals, resampled_totals

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """A metric of one run: ``value``, ``samples`` (R,) in R resamples, ``left_out`` (images,) without each image."""

    value: float
    samples: Float64
    left_out: Float64


def sample_metrics(
    counts: Counts, metrics: Sequence[Metric], kinds: Sequence[str], times: Float64
) -> dict[str, Sampled]:
    """Return every one of ``metrics`` on ``counts`` under the draws ``times`` (images, R); all need these counts."""
    observed, resampled, left_out = observed_totals(counts), resampled_totals(counts, times), left_out_totals(counts)
    return {m.name: Sampled(float(m(observed, kinds)[0]), m(resampled, kinds), m(left_out, kinds)) for m in metrics}


def mean_of(seeds: Sequence[Sampled]) -> Sampled:
    """Return the mean over ``seeds`` of one metric on the same images and draws."""
    return Sampled(
        float(np.mean([s.value for s in seeds])),
        np.mean([s.samples for s in seeds], axis=0),
        np.mean([s.left_out for s in seeds], axis=0),
    )


def estimate(seeds: Sequence[Sampled]) -> tuple[Estimate, SeedSpread]:
    """Return the mean over ``seeds`` with its interval: over images, and with several seeds over seeds and images."""
    mean, values = mean_of(seeds), [s.value for s in seeds]
    if len(seeds) == 1:
        low, high = calibrated_interval(mean.value, mean.samples, mean.left_out)
        return Estimate(mean.value, low, high), seed_spread(values)
    return two_level(values, mean.samples, len(mean.left_out))[0], seed_spread(values)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A minus B on the same images: ``difference`` with its interval and its two-sided ``p``."""

    difference: Estimate
    p: float


def difference(a: Sequence[Sampled], b: Sequence[Sampled]) -> Difference:
    """Return paired difference of runs on the same images and draws, ``a[k]`` with ``b[k]``.

    One seed: the percentile interval over images and the p-value it inverts to. Several: :func:`two_level` on the
    differences of the pairs. Raises ValueError where the numbers of seeds differ.
    """
    pairs = [Sampled(x.value - y.value, x.samples - y.samples, x.left_out) for x, y in zip(a, b, strict=True)]
    mean = mean_of(pairs)
    if len(pairs) == 1:
        return Difference(Estimate(mean.value, *percentile_interval(mean.samples)), two_sided_p(mean.samples))
    return Difference(*two_level([p.value for p in pairs], mean.samples, len(mean.left_out)))


def class_differences(a: Sequence[Counts], b: Sequence[Counts], times: Float64) -> list[Difference]:
    """Return a minus B of every class's IoU with percentile intervals over images, means over the runs of each side.

    NaN where a class has no pixel on either side; resamples without the class are left out.
    """

    def iou(runs: Sequence[Counts]) -> tuple[Float64, Float64]:
        values = np.mean([observed_totals(c).iou()[:, 0] for c in runs], axis=0)
        return values, np.mean([resampled_totals(c, times).iou() for c in runs], axis=0)

    (value_a, samples_a), (value_b, samples_b) = iou(a), iou(b)
    rows = zip(value_a - value_b, samples_a - samples_b, strict=True)
    return [Difference(Estimate(float(v), *percentile_interval(s)), two_sided_p(s)) for v, s in rows]


def interval_of(
    counts: Counts, metric: Metric, kinds: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Return one metric of one run with its 95 % interval over images."""
    times = draw_images(len(counts), resamples, seed)
    return estimate([sample_metrics(counts, [metric], kinds, times)[metric.name]])[0]


def pair_seeds(a: Mapping[int, T], b: Mapping[int, T]) -> tuple[list[T], list[T]] | None:
    """Return the runs of two sides (by seed) in pairs: equal seeds; one run is set against each of the other side.

    None where both sides have several runs and no seed in common.
    """
    if len(a) == 1 or len(b) == 1:
        longer = max(len(a), len(b))
        return [*a.values()] * (longer // len(a)), [*b.values()] * (longer // len(b))
    common = sorted(set(a) & set(b))
    return ([a[s] for s in common], [b[s] for s in common]) if common else None
