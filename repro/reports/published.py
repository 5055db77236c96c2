"""The papers' numbers, with their source and convention (``results/published.csv``)."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from repro.paths import PUBLISHED


@dataclasses.dataclass(frozen=True)
class Published:
    """One printed number: ``value`` in the unit its ``metric`` names, ``source`` as paper and table."""

    benchmark: str
    metric: str
    value: float
    source: str
    convention: str


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with PUBLISHED.open(newline="", encoding="utf-8") as stream:
        return tuple(csv.DictReader(stream))


def find_published(selection: Mapping[str, Any], benchmark: str, metric: str = "mIoU_percent") -> Published | None:
    """The number printed for ``benchmark`` in the row that ``selection`` (column -> value) describes, or None.

    ``selection["benchmarks"]`` maps benchmarks to what a paper calls them where it has names of its own.
    Raises ValueError where the selection is ambiguous: two numbers for one cell must be told apart by their source.
    """
    if not selection:
        return None
    printed = selection.get("benchmarks", {}).get(benchmark, benchmark)
    wanted = {**selection, "benchmark": printed, "metric": metric}
    wanted.pop("benchmarks", None)
    rows = [r for r in _rows() if all(r[k] == v for k, v in wanted.items())]
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} published numbers match {wanted}")
    if not rows:
        return None
    row = rows[0]
    return Published(
        benchmark, metric, float(row["value"]), f"{row['paper']}, {row['table']}", row.get("convention") or "unknown"
    )
