"""Tables: rows (a method on a tower, with options) by columns (benchmarks), in ``configs/tables/*.py``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

from repro.errors import unknown_name
from repro.experiments.profiles import read_config
from repro.methods import registry
from repro.paths import CONFIGS


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: ``options`` are those that differ from the profile's for this method and tower.

    ``published`` selects the paper's numbers for the same row: columns of ``results/published.csv`` and their values.
    """

    id: str
    title: str
    method: str
    tower: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Table:
    """A grid of rows by benchmarks with one headline metric."""

    name: str
    title: str
    caption: str
    benchmarks: tuple[str, ...]
    metric: str
    rows: tuple[Row, ...]


def table_names() -> list[str]:
    """Names of the tables that exist."""
    return sorted(p.stem for p in (CONFIGS / "tables").glob("*.py"))


@cache
def load_table(name: str) -> Table:
    """The table called ``name``; UsageError with suggestions for an unknown one.

    A row whose method is not installed is left out: a table shows what can be run, never a placeholder.
    """
    path = CONFIGS / "tables" / f"{name}.py"
    if not path.is_file():
        raise unknown_name("table", name, table_names())
    raw = read_config(path)
    rows = tuple(Row(**row) for row in raw["rows"] if row["method"] in registry())
    return Table(raw["name"], raw["title"], raw["caption"], tuple(raw["benchmarks"]), raw["metric"], rows)
