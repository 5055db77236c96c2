"""Rows of a table that are predictions of other code: finished cells that were scored, never computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.configuration.tables import Row
from repro.errors import UsageError, command
from repro.files import read_record
from repro.methods import MethodEntry
from repro.runs.addresses.places import Place
from repro.runs.plan import Cell, Plan, Run
from repro.runs.scored import METHOD, OTHER_CODE, find_scored, scored_facts, slug
from repro.runs.status import DONE, CellStatus, flag_of
from repro.runs.store import CELL, COMPLETE, RunStore

ENTRY = MethodEntry(METHOD, OTHER_CODE, "", type(None), "", trainable=False)
"""In place of a method."""


@dataclasses.dataclass(frozen=True)
class ScoredRun(Run):
    """A run of predictions in the store, ``folder``: there is nothing to build, to train or to judge."""

    folder: Path = Path()

    @cached_property
    def options(self) -> Any:
        return None

    @cached_property
    def train(self) -> None:
        return None

    @cached_property
    def facts(self) -> dict[str, Any]:
        return scored_facts(self.folder) or {}

    @property
    def place(self) -> Place:
        return Place(self.folder)


@dataclasses.dataclass(frozen=True)
class ScoredCell(Cell):
    """A finished score, which lies in ``folder``."""

    folder: Path

    @cached_property
    def protocol_digest(self) -> str:
        return str(self._facts["protocol"])

    @cached_property
    def key(self) -> str:
        return str(self._facts["key"])

    @property
    def place(self) -> Place:
        return Place(self.folder)

    @property
    def stale(self) -> str | None:
        return None

    @cached_property
    def _facts(self) -> dict[str, Any]:
        return read_record(self.folder / CELL, "key", "protocol")


def with_scored(plan: Plan, words: Sequence[str]) -> Plan:
    """Return ``plan`` with rows of the predictions that ``words`` name, on its benchmarks and their images.

    Raises UsageError for unknown words, for predictions that were scored on none of the images of the table, and for
    two runs of one name on one benchmark.
    """
    cells: list[Cell] = []
    for name, folders in find_scored(plan.assets.store, words).items():
        own = [cell for folder in folders for cell in _cells(plan, name, folder)]
        twice = sorted({c.benchmark.id for c in own if sum(o.benchmark.id == c.benchmark.id for o in own) > 1})
        if twice or not own:
            several = ", ".join(folder.name for folder in folders)
            raise UsageError(
                f"{name} has {'several scores' if twice else 'no score'} for this table",
                expected="one score on each of some benchmarks of the table, on all of its images",
                found=f"{several} on {', '.join(twice)}" if twice else f"scores of {several} on other images",
                mend=f"name one run with --also, or score the same images: {_scoring(plan)}",
            )
        cells += own
    return dataclasses.replace(plan, also=tuple(cells))


def also_status(plan: Plan) -> list[CellStatus]:
    """Return the states of the rows of other code."""
    found = []
    for cell in plan.also:
        metrics = RunStore.result(cell.place.path)
        assert metrics is not None, f"{cell.place.path} was finished when the table was planned"
        found.append(CellStatus(cell, DONE, [], metrics, flag=flag_of(plan, metrics)))
    return found


def _cells(plan: Plan, name: str, folder: Path) -> Iterator[ScoredCell]:
    """Yield the scores in a run's folder that are of the images of the plan."""
    tower = dataclasses.replace(plan.runs[0].tower, title=OTHER_CODE)
    row = Row(f"scored-{slug(name)}", name, METHOD, plan.runs[0].row.tower)
    run = ScoredRun(row, plan.profile, tower, ENTRY, 0, plan.assets, folder)
    known = {b.id: b for b in plan.benchmarks}
    for path in sorted(folder.glob(f"eval/*/{COMPLETE}")):
        cell = read_record(path.parent / CELL, "key", "benchmark", "data")
        benchmark = known.get(cell["benchmark"])
        if benchmark is not None and "part" not in cell and cell["data"] == plan.assets.data_key(benchmark.id):
            yield ScoredCell(run, benchmark, path.parent)


def _scoring(plan: Plan) -> str:
    asked = ("--profile", plan.profile.name, *plan.assets.named_folders)
    return command("repro", "score", "FOLDER", "--benchmark", plan.benchmarks[0].id, *asked)
