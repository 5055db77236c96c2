"""Benchmarks whose data are there: a profile's own, or those below a folder that the user named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from repro.console import Log
from repro.datasets.benchmarks import Benchmark
from repro.datasets.layout import Pair
from repro.errors import DataError, command
from repro.runs.assets import Assets


@dataclasses.dataclass(frozen=True)
class OpenedSet:
    """A benchmark with data: its pairs, what their content is known by, and who made the labels ("": we did).

    ``keys`` are those of all images, before a limit; ``drawn``: whether they are of the miniature.
    """

    benchmark: Benchmark
    pairs: list[Pair]
    key: str
    labels: str
    keys: tuple[str, ...]
    drawn: bool

    @property
    def part(self) -> str:
        """Say which part of the images these are; "" where they are all."""
        taken, every = len(self.pairs), len(self.keys)
        return "" if taken == every else f"first {taken} of {every} images"


def open_sets(
    assets: Assets,
    chosen: Sequence[Benchmark],
    external: Path | None,
    log: Log,
    *,
    split: str | None = None,
    limit: int | None = None,
    skip: bool = False,
) -> list[OpenedSet]:
    """Open the ``chosen`` sets, of the profile of ``assets`` or below the folder ``external``.

    The miniature is drawn first. ``limit``: only the first so many images. Raises DataError where one has no data; with
    ``skip`` only where none has.
    """
    from repro.runs.external import named_content, not_compared, open_data

    cache = assets.store.cache
    found = []
    for benchmark in chosen:
        own = benchmark.root is not None
        root = benchmark.root or external or assets.ensure_set(benchmark, log)
        try:
            pairs, prepared = open_data(benchmark, root, cache, split)
        except DataError as error:
            if not skip:
                raise
            log(f"skipped {benchmark.id}: {error.message}")
            continue
        drawn = external is None and assets.profile.synthetic and not own
        known = drawn or own
        key = assets.data_key(benchmark.id) if known else named_content(benchmark.id, prepared, cache, split)
        labels = "" if known else not_compared(benchmark, prepared, split)
        taken = pairs[:limit]
        key = f"{key} {split or ''}".strip() + (f" first {len(taken)}" if len(taken) < len(pairs) else "")
        found.append(OpenedSet(benchmark, taken, key, labels, tuple(p.key for p in pairs), drawn))
    if not found:
        raise DataError(
            f"no benchmark has data below {external}",
            expected="the layout of docs/protocol.md",
            mend=command("repro", "data", "prepare", "all", "--data-root", external or "DIR"),
        )
    return found
