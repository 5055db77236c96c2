"""Tables: rows (a method on a tower, with options) by columns, in ``configs/tables/*.py``.

Three kinds: ``benchmarks`` (mean IoU of trained methods, one column per benchmark), ``cost`` (parameters,
multiply-adds, seconds, memory; nothing trained) and ``regions`` (how a CLIP tower names boxes and masks).
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from repro.configuration.files import check_config, read_config
from repro.datasets.benchmarks import BENCHMARKS
from repro.errors import UsageError, unknown_name
from repro.methods import registry
from repro.paths import CONFIGS

KIND_GROUP = "repro.tables"
"""Entry points by which another package announces a kind of tables."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: ``options`` are those that differ from the profile's for this method and tower.

    ``published`` selects the paper's numbers for the same row: columns of ``results/published.csv`` and their values.
    ``by_profile`` maps a profile's name to ``{"title": .., "options": {..}}`` where the row differs there: sizes that
    only make sense on that profile's grid. These options go over ``options``; ``"published": {}`` says that the row is
    something else there, beside which the paper's numbers have no place. ``alignment`` are values of the recipe
    of the row's aligned tower that differ from the profile's. ``select`` is the name by which ``--methods`` chooses the
    row where it is not the method's own: a method on another kind of tower is another entry of a table. ``remarks`` are
    printed under a table that shows the row. ``at`` is the row's place along what a table's rows differ in (``along``).
    ``published_training`` selects what the paper says its training took.
    """

    id: str
    title: str
    method: str
    tower: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    published: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    by_profile: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    alignment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    select: str = ""
    remarks: Sequence[str] = ()
    at: float | None = None
    published_training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def selector(self) -> str:
        """What ``--methods`` calls the row."""
        return self.select or self.method

    def under(self, profile: str) -> Row:
        """Return the row as it is in the profile called ``profile``."""
        own = self.by_profile.get(profile)
        if own is None:
            return self
        return dataclasses.replace(
            self,
            title=own.get("title", self.title),
            options={**self.options, **own.get("options", {})},
            published=own.get("published", self.published),
            by_profile={},
        )


@dataclasses.dataclass(frozen=True)
class Table:
    """A grid of rows by columns.

    ``benchmarks`` (the papers' six where a file names none) are the columns of a ``benchmarks`` table with ``metric``
    in each; a ``cost`` table takes its vocabulary from the only one it names; a ``regions`` table has ``panoptic``
    sets instead and its ``metric`` is ``top1`` or ``top5`` (both are printed); a ``maps`` table scores the maps
    methods offer; a ``controls`` table says whether methods work at all, ``seen`` are its benchmarks whose classes
    are in the training set. ``layout`` says where published values stand: in ``rows`` of their own, or in ``columns``
    beside the measured ones, with differences. ``remarks`` are printed under the table. With ``any_method`` a method
    that has no row gets one where it is named, with its defaults on the tower ``base``. ``printed`` names the paper's
    table (columns of ``results/published.csv`` and their values) whose other rows are printed around the measured ones
    where a reader wants all of them.
    """

    name: str
    title: str
    caption: str
    benchmarks: tuple[str, ...]
    metric: str
    rows: tuple[Row, ...]
    kind: str = "benchmarks"
    layout: Literal["rows", "columns"] = "rows"
    remarks: tuple[str, ...] = ()
    panoptic: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    any_method: bool = False
    training_cost: bool = False
    along: str = ""
    printed: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def with_methods(self, names: Sequence[str]) -> Table:
        """Return the table with a row for each of the methods ``names`` that has none, where it takes any method."""
        selectors = {row.selector for row in self.rows}
        new = [n for n in dict.fromkeys(names) if self.any_method and n not in selectors and n in registry()]
        rows = (Row(f"{name}-base", registry()[name].title, name, "base") for name in new)
        return dataclasses.replace(self, rows=(*self.rows, *rows)) if new else self


def table_names() -> list[str]:
    """Return the names of the tables that exist."""
    return sorted(p.stem for p in (CONFIGS / "tables").glob("*.py"))


@cache
def load_table(name: str) -> Table:
    """Read the table called ``name``, or the one in the file ``name`` when it ends with ``.py``.

    Raises UsageError with suggestions for an unknown one, and for a file that is not complete or would run code.
    A row whose method is not installed is left out: a table shows what can be run, never a placeholder.
    """
    path = Path(name) if name.endswith(".py") else CONFIGS / "tables" / f"{name}.py"
    if not path.is_file():
        raise unknown_name("table", name, table_names())
    if name.endswith(".py"):
        check_config(path)
    raw = {key: value for key, value in read_config(path).items() if not key.startswith("_")}
    try:
        rows = tuple(Row(**row) for row in raw.pop("rows") if row["method"] in registry())
        _check_ids(path, rows)
        lists: dict[str, Any] = {
            key: tuple(raw.pop(key)) for key in ("benchmarks", "remarks", "panoptic", "seen") if key in raw
        }
        return Table(**raw, **{"benchmarks": tuple(BENCHMARKS), **lists}, rows=rows)
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"table {path} is not complete or has an unknown key",
            expected="the keys of configs/tables/table1.py",
            found=str(error),
            mend="correct the file",
        ) from error


def _check_ids(path: Path, rows: tuple[Row, ...]) -> None:
    ids = [row.id for row in rows]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise UsageError(
            f"table {path} has several rows of one id",
            expected="an id of its own for each row",
            found=", ".join(twice),
            mend="correct the file",
        )


class KindFacts(Protocol):
    """What is known of a kind of tables below the tables themselves (:class:`repro.tables.kind.TableKind`)."""

    keeps: str
    evaluates: bool


@cache
def find_kind(name: str) -> Any:
    """Find the kind of tables called ``name``: ``KIND`` of the module in :mod:`repro.tables`, or an entry point.

    Raises UsageError where there is none.
    """
    module = f"repro.tables.{name}"
    if name.isidentifier() and find_spec(module) is not None:
        return importlib.import_module(module).KIND
    for point in entry_points(group=KIND_GROUP, name=name):
        return point.load()
    raise UsageError(
        f"unknown kind of table {name!r}",
        expected="benchmarks, cost, maps, regions, controls, or one that an installed package announces",
        found=name,
        mend="correct the table, or install the package that the kind comes with",
    )


def facts_of(table: Table) -> KindFacts:
    """Return what a kind's states hold, for what reads them without making tables."""
    found: KindFacts = find_kind(table.kind)
    return found
