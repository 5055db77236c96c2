"""A cheap identity of the data a number was measured on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from repro.benchmarks.layout import prepared_pairs
from repro.benchmarks.spec import get_benchmark


def fingerprint(benchmark_id: str, data_root: Path, split: str | None = None) -> str:
    """Sixteen hex digits over the names and byte sizes of all images and prepared labels of a split.

    Pixels are not read (``repro data verify`` does that). Raises DataError where the set is not prepared.
    """
    state = hashlib.sha256(benchmark_id.encode())
    for pair in prepared_pairs(get_benchmark(benchmark_id), data_root, split):
        state.update(f"{pair.key} {pair.image.stat().st_size} {pair.label.stat().st_size}\n".encode())
    return state.hexdigest()[:16]
