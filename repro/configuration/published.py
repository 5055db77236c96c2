"""The papers' numbers, with their source and convention (``results/published.csv``)."""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from repro.paths import PUBLISHED

PublishedRows = Literal["all", "ours", "none"]
"""Which rows of papers a table shows: all of the table it repeats, those with a measured row, none."""


ROW = ("paper", "version", "table", "row", "method", "vlm", "feature_backbone", "train_set", "extra_data")
"""Columns that tell one row of a paper's table from another."""


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


@dataclasses.dataclass(frozen=True)
class PrintedRow:
    """A row of a paper's table as it is printed: what it is (``columns`` of ``results/published.csv``) and its values.

    ``values`` are by benchmark and metric, in the unit the metric names.
    """

    columns: Mapping[str, str]
    values: Mapping[tuple[str, str], Published]
    title: str
    """What it is called in its table: the method, or the name of the row where several rows are of one method."""

    @property
    def vlm(self) -> str:
        """What the paper calls the vision-language model, empty where it states none."""
        return self.columns["vlm"]

    @property
    def notes(self) -> list[str]:
        """What is to be said of its numbers, each once."""
        return list(dict.fromkeys(p.note for p in self.values.values() if p.note))

    def belongs_to(self, selection: Mapping[str, Any]) -> bool:
        """Tell whether ``selection`` of a row of ours describes this row."""
        return bool(selection) and all(self.columns.get(k) == v for k, v in selection.items() if k != "benchmarks")

    def value(self, benchmark: str, metric: str = "mIoU_percent") -> float | None:
        """Return the number printed for ``benchmark``, None for a gap."""
        found = self.values.get((benchmark, metric))
        return found.value if found else None


def printed_rows(selection: Mapping[str, str]) -> list[PrintedRow]:
    """Return all rows of the table that ``selection`` (paper, table) names, in the order in which they are printed."""
    rows: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for r in _rows():
        if selection and all(r[k] == v for k, v in selection.items()):
            rows.setdefault(tuple(r[k] for k in ROW), []).append(r)
    alike = Counter(key[ROW.index("method") :] for key in rows)
    found = []
    for key, own in rows.items():
        columns = dict(zip(ROW, key, strict=True))
        title = columns["row" if alike[key[ROW.index("method") :]] > 1 else "method"]
        values = {(r["benchmark"], r["metric"]): _number(r, r["benchmark"]) for r in own}
        found.append(PrintedRow(columns, values, title))
    return found


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
