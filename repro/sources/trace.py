"""A trace and how two are compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Trace = Mapping[str, list[float]]
"""Numbers by part, or by the parts of parts (:func:`named`) in the order they are computed."""
JOINT = " / "
"""Between a part and what is a part of it."""
TOLERANCE = 1e-9
"""Relative to the largest of four neighbouring numbers: sums in another order differ by less, changed code by more."""
FLOOR = 1e-14
"""Relative to the largest number of a part: below it everything is rounding."""


def summary(values: Any) -> list[float]:
    """Return four numbers of an array that depend on every entry and its place: sum, norm and two fixed projections."""
    flat = np.asarray(values, np.float64).ravel()
    # Not products of vectors: BLAS divides them among threads, which on a busy machine takes a thousand times longer.
    return [float(flat.sum()), float(np.sqrt((flat**2).sum())), *(float((flat * w).sum()) for w in _waves(flat.size))]


@lru_cache(maxsize=32)
def _waves(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    place = np.arange(size)
    # Frequencies without a common period: permuted entries change at least one projection.
    return np.cos(1.618 * place + 0.3), np.sin(0.733 * place * place + 0.1)


def exact(values: Any) -> list[float]:
    """Return two numbers of an integer array that another would hardly have: a checksum of its bytes and its size."""
    import zlib

    array = np.ascontiguousarray(values)
    return [float(zlib.crc32(array.astype(np.int64).tobytes())), float(array.size)]


def named(*words: object) -> str:
    """Return the name of a part of a part."""
    return JOINT.join(map(str, words))


def joined(trace: Trace) -> dict[str, list[float]]:
    """Return ``trace`` by its parts alone, as a store keeps it: the numbers of their parts one after another."""
    found: dict[str, list[float]] = {}
    for name, values in trace.items():
        found.setdefault(name.partition(JOINT)[0], []).extend(values)
    return found


@dataclasses.dataclass(frozen=True)
class Gap:
    """A tensor that is not as it was: its name, the number that is farthest off, and how far, relative to the size of
    the tensor. None where there is no such tensor, or not as many numbers."""

    name: str
    expected: float | None
    found: float | None
    off: float = math.inf


def gaps(before: Trace, now: Trace, tolerance: float = TOLERANCE) -> list[Gap]:
    """Return the tensors that differ, in the order they are computed: those only one of the two has are among them.

    Whole numbers must be equal. Others may be off by ``tolerance`` times the largest of the tensor's numbers, its norm
    as a rule; a tensor far smaller than the largest of its part (:data:`FLOOR`) may be rounding as a whole.
    """
    largest = {part: _largest(values) for part, values in joined(before).items()}
    found = []
    for name in dict.fromkeys([*now, *before]):
        old, new = before.get(name), now.get(name)
        if old is None or new is None or len(old) != len(new):
            found.append(Gap(name, None if old is None else _first(old), None if new is None else _first(new)))
            continue
        whole = all(value.is_integer() for value in old)
        size = max(_largest(old), largest[name.partition(JOINT)[0]] * FLOOR / TOLERANCE, 1e-300)
        offs = [_off(a, b) / size for a, b in zip(old, new, strict=True)]
        if max(offs, default=0.0) > (0.0 if whole else tolerance):
            worst = offs.index(max(offs))
            found.append(Gap(name, old[worst], new[worst], offs[worst]))
    return found


def _off(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf


def _largest(values: Iterable[float]) -> float:
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0)


def _first(values: list[float]) -> float | None:
    return values[0] if values else None


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
