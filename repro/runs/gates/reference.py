"""Reference values of a profile's tables: what a cell is expected to be, how far it may be off, and why."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.errors import UsageError, command
from repro.runs.plan import Cell, Plan, make_plan
from repro.configuration.profiles import load_profile
from repro.runs.provenance import provenance
from repro.runs.status import DONE, CellStatus, plan_status
from repro.configuration.tables import facts_of, load_table
from repro.files import read_json, write_json
from repro.mends import same_folders
from repro.metrics.counts import Counts
from repro.metrics.miou import metrics_from_counts

FORMAT = 1
FLOOR = 0.05
"""The smallest tolerance, in points: half a unit of the decimal that is printed."""
NOT_MEASURED = "not measured: half a unit of the printed decimal"

Key = tuple[str, str, int, str]


@dataclasses.dataclass(frozen=True)
class ReferenceCell:
    """One cell: ``expected`` in percent and ``tolerance`` in points of ``metric``, and the ``reason`` for the latter.

    ``run`` and ``key`` are the addresses of the evaluation it was taken from, ``counts`` its counts below the folder
    of the reference ("" where they were not kept).
    """

    table: str
    row: str
    seed: int
    benchmark: str
    metric: str
    expected: float
    tolerance: float
    reason: str
    images: int
    protocol: str
    run: str
    key: str
    hardware: str
    counts: str = ""

    @property
    def id(self) -> Key:
        return (self.table, self.row, self.seed, self.benchmark)


@dataclasses.dataclass(frozen=True)
class Reference:
    """The cells of one profile, with the provenance of their last update."""

    profile: str
    cells: tuple[ReferenceCell, ...]
    provenance: Mapping[str, Any]

    def save(self, path: Path) -> None:
        """Write the file, a cell after the other in the order of the tables."""
        cells = [dataclasses.asdict(c) for c in self.cells]
        unit = "percent; tolerance in points"
        write_json(path, {"format": FORMAT, "profile": self.profile, "unit": unit, "cells": cells,
                          "provenance": dict(self.provenance)})  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read a file :meth:`save` wrote, or edited by hand; UsageError for any other."""
        if not path.is_file():
            raise UsageError(
                f"there is no reference {path}",
                expected="a file written by repro check --update",
                mend=command("repro", "check", "TABLE", "--against", path, "--update"),
            )
        raw = read_json(path)
        try:
            if raw["format"] != FORMAT:
                raise ValueError(f"format {raw['format']}")
            cells = tuple(ReferenceCell(**c) for c in raw["cells"])
            return cls(raw["profile"], cells, raw["provenance"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{path} is not a reference",
                expected=f"format {FORMAT} with profile, cells and provenance",
                found=str(error),
                mend="move the file away first: " + command("repro", "check", "TABLE", "--against", path, "--update"),
            ) from error


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which cells: tables, and what narrows them."""

    tables: Sequence[str]
    profile: str
    runs: Path
    data_root: Path | None = None
    methods: Sequence[str] | None = None
    benchmarks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None


def measured_cells(selection: Selection) -> dict[Key, tuple[Plan, CellStatus]]:
    """Return the state of every selected cell in the run store, by what identifies it in a reference."""
    found = {}
    for name in selection.tables:
        table = load_table(name)
        kind = facts_of(table)
        if not kind.evaluates:
            raise UsageError(f"{name} holds {kind.keeps}, which have no reference", mend="repro list")
        plan = make_plan(
            table,
            load_profile(selection.profile),
            selection.runs,
            data_root=selection.data_root,
            methods=selection.methods,
            benchmarks=selection.benchmarks,
            seeds=selection.seeds,
        )
        for status in plan_status(plan):
            cell = status.cell
            found[name, cell.run.row.id, cell.run.seed, cell.benchmark.id] = (plan, status)
    return found


def selected(reference: Reference, selection: Selection) -> dict[Key, ReferenceCell]:
    """Return the cells of ``reference`` that ``selection`` speaks of."""
    wanted = [b.casefold() for b in selection.benchmarks or ()]

    def chosen(cell: ReferenceCell) -> bool:
        return (
            cell.table in selection.tables
            and (not wanted or cell.benchmark.casefold() in wanted)
            and (not selection.seeds or cell.seed in selection.seeds)
            and (not selection.methods or _method(cell) in selection.methods)
        )

    return {cell.id: cell for cell in reference.cells if chosen(cell)}


def _method(cell: ReferenceCell) -> str | None:
    return next((row.method for row in load_table(cell.table).rows if row.id == cell.row), None)


def percent(plan: Plan, status: CellStatus) -> float | None:
    """Return the table's metric of a finished cell in percent; None where there is none."""
    value = status.metrics.get(plan.table.metric) if status.status == DONE and status.metrics else None
    return None if value is None else 100 * value


def counts_path(plan: Plan, cell: Cell) -> Path:
    """Return the counts of a cell in its run store."""
    return cell.place.path / "counts.npz"


def reference_counts(cell: ReferenceCell, file: Path, plan: Plan) -> Counts | None:
    """Return the counts ``cell`` was taken from, kept beside ``file`` or still in the run store; else None.

    Counts that do not give the expected value (it was edited, or they belong to something else) are not used.
    """
    kept = file.parent / cell.counts if cell.counts else None
    stored = plan.assets.store.evaluation(cell.run, cell.benchmark, cell.key) / "counts.npz"
    for path in (kept, stored):
        if path is not None and path.is_file():
            counts = Counts.load(path)
            if abs(100 * metrics_from_counts(counts)[cell.metric] - cell.expected) < 1e-3:
                return counts
    return None


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """Where the tolerances of an update come from: ``repeats`` (run stores with the same cells computed again), else
    ``by_hand`` in points with its ``reason``, else what the old reference says."""

    repeats: Sequence[Path] = ()
    by_hand: float | None = None
    reason: str = "set by hand"


def updated(
    old: Reference | None, selection: Selection, tolerances: Tolerances, file: Path, *, keep_counts: bool
) -> Reference:
    """Return the reference with the selected cells as they are in the run store now, all others as they were.

    A flagged cell (:mod:`repro.runs.gates.plausible`) is never taken as what to expect. Raises UsageError where
    nothing selected is finished and plausible.
    """
    now = measured_cells(selection)
    repeats = [(f.name, measured_cells(dataclasses.replace(selection, runs=f))) for f in tolerances.repeats]
    cells = {cell.id: cell for cell in old.cells} if old else {}
    done = {key: (plan, status) for key, (plan, status) in now.items() if status.countable}
    flagged = [f"{' '.join(map(str, key))}: {status.flag}" for key, (_, status) in now.items() if status.flag]
    if not done:
        raise UsageError(
            "no selected cell is finished: there is nothing to take as a reference",
            expected=f"finished cells of {', '.join(selection.tables)} in {selection.runs}",
            found="; ".join(flagged) or "none",
            mend=command(
                "repro",
                "run",
                selection.tables[0],
                "--profile",
                selection.profile,
                *same_folders(selection.runs, selection.data_root),
            ),
        )
    for key, (plan, status) in done.items():
        expected = percent(plan, status)
        assert expected is not None
        again = [(name, percent(*other[key])) for name, other in repeats if key in other]
        noise = [(name, abs(value - expected)) for name, value in again if value is not None]
        tolerance, reason = _tolerance(cells.get(key), noise, tolerances)
        cells[key] = _cell(key, plan, status, expected, tolerance, reason, file if keep_counts else None)
    order = {name: i for i, name in enumerate(dict.fromkeys([*(c.table for c in cells.values())]))}
    ordered = sorted(cells.values(), key=lambda c: order[c.table])
    return Reference(selection.profile, tuple(ordered), provenance("cpu"))


def _tolerance(
    old: ReferenceCell | None, noise: Sequence[tuple[str, float]], tolerances: Tolerances
) -> tuple[float, str]:
    """Return points and why; ``noise`` has the name of the run store of each repeat and its absolute difference."""
    if noise:
        largest = max(value for _, value in noise)
        each = ", ".join(f"{name} {value:.3f}" for name, value in noise)
        return max(FLOOR, math.ceil(200 * largest) / 100), f"twice the largest of {each} points, at least {FLOOR}"
    if tolerances.by_hand is not None:
        return tolerances.by_hand, tolerances.reason
    return (old.tolerance, old.reason) if old else (FLOOR, NOT_MEASURED)


def _cell(
    key: Key,
    plan: Plan,
    status: CellStatus,
    expected: float,
    tolerance: float,
    reason: str,
    file: Path | None,
) -> ReferenceCell:
    assert status.metrics is not None
    counts = ""
    if file is not None:
        table, row, seed, benchmark = key
        counts = f"{file.stem}_counts/{table}-{row}-s{seed}-{benchmark}.npz"
        Counts.load(counts_path(plan, status.cell)).save(file.parent / counts)
    return ReferenceCell(
        *key,
        metric=plan.table.metric,
        expected=round(expected, 6),
        tolerance=tolerance,
        reason=reason,
        images=status.metrics["num_images"],
        protocol=status.cell.protocol_digest,
        run=status.cell.run.id,
        key=status.cell.key,
        hardware=str(status.metrics.get("hardware")),
        counts=counts,
    )


def seeds_of(cells: Iterable[ReferenceCell]) -> list[int]:
    """Return the seeds a reference knows, smallest first."""
    return sorted({cell.seed for cell in cells})
