"""A trace and how two are compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Trace = Mapping[str, list[float]]
"""Numbers by part."""
TOLERANCE = 1e-9
"""Relative to the largest of four neighbouring numbers: sums in another order differ by less, changed code by more."""
FLOOR = 1e-14
"""Relative to the largest number of a part: below it everything is rounding."""


def summary(values: Any) -> list[float]:
    """Return four numbers of an array that depend on every entry and its place: sum, norm and two fixed projections."""
    flat = np.asarray(values, np.float64).ravel()
    place = np.arange(flat.size)
    # Frequencies without a common period: permuted entries change at least one projection.
    waves = (np.cos(1.618 * place + 0.3), np.sin(0.733 * place * place + 0.1))
    return [float(flat.sum()), float(np.sqrt((flat**2).sum())), *(float(flat @ w) for w in waves)]


def exact(values: Any) -> list[float]:
    """Return two numbers of an integer array that another would hardly have: a checksum of its bytes and its size."""
    import zlib

    array = np.ascontiguousarray(values)
    return [float(zlib.crc32(array.astype(np.int64).tobytes())), float(array.size)]


def difference(before: Trace, now: Trace) -> list[str]:
    """Return the parts of ``before`` that ``now`` lacks or has otherwise, with how far each is off.

    Parts that only ``now`` has are not a difference: an earlier trace did not look at them.
    """
    found = []
    for part, old in before.items():
        new = now.get(part)
        if new is None or len(new) != len(old):
            found.append(f"{part} (another number of values)")
            continue
        off = _distance(old, new)
        if not off <= TOLERANCE:
            found.append(f"{part} (by {off:.1g} of its size)")
    return found


def _distance(old: Iterable[float], new: Iterable[float]) -> float:
    a, b = np.array(list(old), np.float64), np.array(list(new), np.float64)
    if not a.size:
        return 0.0
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    finite = np.where(np.isfinite(a), np.abs(a), 0.0)
    # A summary is four numbers of one array: each is compared with the size of its own array, however small.
    groups = np.maximum.reduceat(finite, range(0, a.size, 4))
    size = np.maximum(groups.repeat(4)[: a.size], max(float(finite.max()) * FLOOR / TOLERANCE, 1e-300))
    off = float(np.max(np.where(same, 0.0, np.abs(a - b)) / size))
    return math.inf if math.isnan(off) else off
