"""What a measure counts on fixed masks: whole numbers, so that their digest is an address on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.small import small_benchmark
from repro.hashing import digest
from repro.sources.trace import Trace, exact, named

if TYPE_CHECKING:
    from repro.metrics.counts import Counts
    from repro.metrics.measure import Measure

SIZES = ((40, 57), (331, 402))


@cache
def measure_digest(kind: type[Measure]) -> str:
    """Return eight hex digits over the counts and values of ``kind`` on four pairs of masks."""
    found: list[object] = []
    for parts, values in _measured(kind):
        for name in sorted(parts):
            arrays = parts[name].arrays()
            found.append([name, *(exact(arrays[k]) for k in sorted(arrays) if arrays[k].dtype.kind in "iu")])
        found.append({k: f"{v:.9g}" for k, v in sorted(values.items())})
    return digest(found, 8)


def measure_trace(kind: type[Measure]) -> Trace:
    """Trace the same counts and values, each under its name."""
    trace: dict[str, list[float]] = {}
    for which, (parts, values) in zip(("plain", "folded"), _measured(kind), strict=True):
        for name in sorted(parts):
            arrays = parts[name].arrays()
            whole = (k for k in sorted(arrays) if arrays[k].dtype.kind in "iu")
            trace |= {named(f"counts {which}", name, k): exact(arrays[k]) for k in whole}
        trace |= {named(f"values {which}", k): [v] for k, v in sorted(values.items())}
    return trace


def _measured(kind: type[Measure]) -> Iterator[tuple[dict[str, Counts], dict[str, float]]]:
    """Yield what ``kind`` counts, and its values, on plain masks and on masks with a folded background."""
    for folded in (False, True):
        benchmark = small_benchmark(folded)
        measure = kind(benchmark)
        for number, (height, width) in enumerate(SIZES):
            rng = np.random.default_rng((17, number))
            label = rng.integers(0, benchmark.num_classes, (height // 9 + 1, width // 9 + 1)).repeat(9, 0).repeat(9, 1)
            label = label[:height, :width]
            other = (label + 1) % len(benchmark.words)
            prediction = np.where(rng.random(label.shape) < 0.9, np.roll(label, 2, 1), other)
            measure.add(str(number), prediction, np.where(rng.random(label.shape) < 0.05, 255, label).astype(np.uint8))
        parts = measure.build()
        yield parts, measure.values(parts)
