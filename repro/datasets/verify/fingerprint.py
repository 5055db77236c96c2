"""The identity of the data a number was measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.contents import Contents, Progress
from repro.datasets.layout import prepared_pairs
from repro.hashing import digest

if TYPE_CHECKING:
    from repro.datasets.layout import Pair


def fingerprint(
    benchmark_id: str,
    data_root: Path,
    split: str | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> str:
    """Return sixteen hex digits over the names and the content of all images and prepared labels of a split.

    Files are read once and remembered below ``cache``. Raises DataError where the set is not prepared.
    """
    benchmark = get_benchmark(benchmark_id)
    pairs = prepared_pairs(benchmark, data_root, split)
    name = f"{benchmark.id}-{benchmark.split(split).name}-{digest(str(data_root.resolve()), 10)}.json"
    contents = Contents(None if cache is None else cache / "contents" / name)
    return pairs_digest(pairs, contents, benchmark.id, progress)


def pairs_digest(pairs: Sequence[Pair], contents: Contents, prefix: str = "", progress: Progress | None = None) -> str:
    """Return sixteen hex digits over ``prefix`` and the keys, images and labels of ``pairs``."""
    found = contents.digests([path for pair in pairs for path in (pair.image, pair.label)], progress)
    state = hashlib.sha256(f"{prefix} by content\n".encode())
    for number, pair in enumerate(pairs):
        state.update(f"{pair.key} {found[2 * number]} {found[2 * number + 1]}\n".encode())
    return state.hexdigest()[:16]


def names_and_sizes(benchmark_id: str, data_root: Path, split: str | None = None) -> str:
    """Return what version 0.1.0 called the fingerprint: names and byte sizes alone. Only to recognise what it made."""
    state = hashlib.sha256(benchmark_id.encode())
    for pair in prepared_pairs(get_benchmark(benchmark_id), data_root, split):
        state.update(f"{pair.key} {pair.image.stat().st_size} {pair.label.stat().st_size}\n".encode())
    return state.hexdigest()[:16]
