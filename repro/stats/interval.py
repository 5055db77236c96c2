"""Intervals, p-values and corrections from bootstrap samples. Which kind is used, and why: docs/statistics.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from repro.stats.resample import Float64

LEVEL = 0.95


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its interval, in the value's own unit; NaN where a number does not exist."""

    value: float
    low: float
    high: float

    def to_json(self, scale: float = 1.0) -> dict[str, float | None]:
        """Return ``{value, low, high}``, None where a number does not exist."""
        return {name: finite(scale * number) for name, number in dataclasses.asdict(self).items()}


def finite(value: float) -> float | None:
    """Return ``value``, or None where JSON has no word for it."""
    return float(value) if np.isfinite(value) else None


def percentile_interval(samples: Float64, level: float = LEVEL) -> tuple[float, float]:
    """Return the quantiles of ``samples`` (R,) that leave half of 1 - ``level`` on each side; NaN samples are left out.

    (NaN, NaN) where no sample is a number.
    """
    valid = samples[np.isfinite(samples)]
    if not valid.size:
        return float("nan"), float("nan")
    low, high = np.quantile(valid, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def calibrated_interval(value: float, samples: Float64, left_out: Float64, level: float = LEVEL) -> tuple[float, float]:
    """Return an interval for ``value`` from bootstrap ``samples`` (R,), with their bias and their spread set right.

    Where classes are rare, resamples lose classes that few images have, so that their mean is off and their spread too
    small. The samples are shifted to have ``value`` as their mean and stretched to the standard error of the jackknife
    (``left_out``, (images,): the value without each image), which feels every image; then the quantiles are taken.
    (NaN, NaN) where there is nothing to go by; no width where nothing varies.
    """
    samples, left_out = samples[np.isfinite(samples)], left_out[np.isfinite(left_out)]
    if not samples.size or not left_out.size or not np.isfinite(value):
        return float("nan"), float("nan")
    n = left_out.size
    error = float(np.sqrt((n - 1) / n * np.square(left_out - left_out.mean()).sum()))
    spread = float(samples.std())
    stretched = value + (samples - samples.mean()) * (error / spread if spread > 0 else 0.0)
    return percentile_interval(stretched, level)


def two_sided_p(differences: Float64) -> float:
    """Return the smallest 1 - level at which the percentile interval of ``differences`` (R,) leaves zero out.

    2 * min(share <= 0, share >= 0) with one added to counts and number, so that it is never 0: 2 / (R + 1) at least.
    NaN where no difference is a number.
    """
    valid = differences[np.isfinite(differences)]
    if not valid.size:
        return float("nan")
    tail = min(int((valid <= 0).sum()), int((valid >= 0).sum()))
    return min(1.0, 2 * (tail + 1) / (valid.size + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down correction (1979) of a family of tests, in the order given, without NaN."""
    corrected = [float("nan")] * len(p_values)
    order = sorted((i for i, p in enumerate(p_values) if np.isfinite(p)), key=lambda i: p_values[i])
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p_values[i]))
        corrected[i] = running
    return corrected


@dataclasses.dataclass(frozen=True)
class SeedSpread:
    """Mean and sample standard deviation over ``seeds`` runs that differ in their seed only."""

    seeds: int
    mean: float
    sd: float


def seed_spread(values: Sequence[float]) -> SeedSpread:
    """Return the spread of values, one per seed; the deviation of a single seed is NaN."""
    array = np.asarray(values, dtype=np.float64)
    return SeedSpread(len(array), float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else float("nan"))


def two_level(values: Sequence[float], samples: Float64, images: int, level: float = LEVEL) -> tuple[Estimate, float]:
    """Return the mean of ``values`` (one per seed, two or more) with interval over seeds and images, and two-sided p.

    ``samples`` (R,) are resamples over images of the mean over seeds. The variance is theirs plus that of the mean of
    the seeds; the interval is Student's with Satterthwaite's degrees of freedom (1946): with two seeds that disagree
    it is wide, as it must be. p tests a mean of zero. A value of NaN (stuff on PAS-20) makes all NaN.
    """
    spread = seed_spread(values)
    if np.isnan(spread.mean):
        return Estimate(spread.mean, spread.mean, spread.mean), spread.mean
    of_seeds, of_images = spread.sd**2 / spread.seeds, float(np.nanvar(samples, ddof=1))
    variance = of_seeds + of_images
    if variance == 0:
        return Estimate(spread.mean, spread.mean, spread.mean), 1.0 if spread.mean == 0 else 0.0
    freedom = variance**2 / (of_seeds**2 / (spread.seeds - 1) + of_images**2 / max(images - 1, 1))
    error = variance**0.5
    from scipy import special  # half a second, and most of what imports this module prints no interval

    half = float(special.stdtrit(freedom, (1 + level) / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(spread.mean) / error))
    return Estimate(spread.mean, spread.mean - half, spread.mean + half), p
