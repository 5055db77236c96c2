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
    note: str = ""


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with PUBLISHED.open(newline="", encoding="utf-8") as stream:
        return tuple(csv.DictReader(stream))


@cache
def _rows_of(benchmark: str, metric: str) -> tuple[dict[str, str], ...]:
    return tuple(r for r in _rows() if (r["benchmark"], r["metric"]) == (benchmark, metric))


def find_published(selection: Mapping[str, Any], benchmark: str, metric: str = "mIoU_percent") -> Published | None:
    """Return the number printed for ``benchmark`` in the row that ``selection`` (column -> value) describes, or None.

    ``selection["benchmarks"]`` maps benchmarks to what a paper calls them where it has names of its own.
    Raises ValueError where the selection is ambiguous: two numbers for one cell must be told apart by their source.
    """
    if not selection:
        return None
    printed = selection.get("benchmarks", {}).get(benchmark, benchmark)
    wanted = {k: v for k, v in selection.items() if k != "benchmarks"}
    rows = [r for r in _rows_of(printed, metric) if all(r[k] == v for k, v in wanted.items())]
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} published numbers match {wanted} for {printed}, {metric}")
    if not rows:
        return None
    return _number(rows[0], benchmark)


def also_published(selection: Mapping[str, Any], benchmark: str, metric: str = "mIoU_percent") -> list[Published]:
    """Return what other papers print for the method and tower of ``selection``, trained on the same set; one each.

    Empty where the selection names no method. Papers write "ViT-B/16" and "CLIP ViT-B/16" of one tower.
    """
    own = [r for r in _rows() if selection and all(r[k] == v for k, v in selection.items() if k != "benchmarks")]
    if "method" not in selection or not own:
        return []
    found: dict[tuple[str, str], Published] = {}
    for r in _rows_of(benchmark, metric):
        same = all(_plain(r[k]) == _plain(own[0][k]) for k in ("method", "vlm", "train_set"))
        if same and r["paper"] != own[0]["paper"]:
            found.setdefault((r["paper"], r["value"]), _number(r, benchmark))
    return list(found.values())


def _plain(text: str) -> str:
    return text.removeprefix("CLIP ").removesuffix("@336px")


def _number(row: Mapping[str, str], benchmark: str) -> Published:
    source, convention = f"{row['paper']}, {row['table']}", row.get("convention") or "unknown"
    return Published(benchmark, row["metric"], float(row["value"]), source, convention, row["note"])
