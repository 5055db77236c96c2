"""Reference values of a profile's tables: what a cell is expected to be, how far it may be off, and why."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.configuration.profiles import load_profile
from repro.configuration.tables import facts_of, load_table
from repro.errors import UsageError, command
from repro.files import read_json, write_json
from repro.mends import same_folders
from repro.metrics.counts import Counts
from repro.metrics.miou import metrics_from_counts
from repro.paths import DEFAULT_RESULTS, MEASURED
from repro.runs.plan import Cell, Plan, Selection
from repro.runs.provenance import provenance
from repro.runs.status import DONE, CellStatus, plan_status

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

    @property
    def tables(self) -> list[str]:
        """The names of its tables."""
        return list(dict.fromkeys(cell.table for cell in self.cells))

    def save(self, path: Path) -> None:
        """Write the file, cell after cell in the order of the tables."""
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
class CheckRequest(Selection):
    """A check of ``tables`` against the reference in the file ``against``, and what narrows the cells.

    No tables: all of the reference; no profile: that of the reference; ``against`` None:
    ./results/<profile>/reference.json, else the project's own. ``tolerance`` in points replaces each cell's own.
    ``allow_better`` lets improvements pass, ``strict`` lets missing and unclear cells fail. An update takes its
    tolerances from ``repeats`` (run stores with the same cells computed again), else from ``tolerance`` with its
    ``reason``, else from the old reference; ``counts`` keeps the counts beside it.
    """

    tables: Sequence[str] = ()
    profile: str = ""
    against: Path | None = None
    tolerance: float | None = None
    allow_better: bool = False
    strict: bool = False
    reason: str = "set by hand"
    repeats: Sequence[Path | str] = ()
    counts: bool = False

    @property
    def file(self) -> Path:
        """The reference file: by default the user's own, where there is one, else the project's."""
        own = self.own
        ours = MEASURED / own.parent.name / own.name
        return self.against or (ours if ours.is_file() and not own.is_file() else own)

    @property
    def own(self) -> Path:
        """Where an update goes: never into the package."""
        return self.against or DEFAULT_RESULTS / Path(self.profile or "mini").stem / "reference.json"

    def making(self) -> str:
        """Write the command that computes the cells."""
        folders = same_folders(self.runs, self.data_root)
        return command("repro", "run", self.tables[0], "--profile", self.profile, *folders)


def measured_cells(request: CheckRequest) -> dict[Key, tuple[Plan, CellStatus]]:
    """Return the state of every selected cell in the run store, by what identifies it in a reference."""
    found = {}
    for name in request.tables:
        table = load_table(name)
        kind = facts_of(table)
        if not kind.evaluates:
            raise UsageError(f"{name} holds {kind.keeps}, which have no reference", mend="repro list")
        plan = request.narrow(table, load_profile(request.profile))
        for status in plan_status(plan):
            cell = status.cell
            found[name, cell.run.row.id, cell.run.seed, cell.benchmark.id] = (plan, status)
    return found


def selected(reference: Reference, request: CheckRequest) -> dict[Key, ReferenceCell]:
    """Return the cells of ``reference`` that ``request`` speaks of."""
    wanted = [b.casefold() for b in request.benchmarks or ()]

    def chosen(cell: ReferenceCell) -> bool:
        return (
            cell.table in request.tables
            and (not wanted or cell.benchmark.casefold() in wanted)
            and (not request.seeds or cell.seed in request.seeds)
            and (not request.methods or _method(cell) in request.methods)
        )

    return {cell.id: cell for cell in reference.cells if chosen(cell)}


def _method(cell: ReferenceCell) -> str | None:
    return next((row.method for row in load_table(cell.table).rows if row.id == cell.row), None)


def percent(plan: Plan, status: CellStatus) -> float | None:
    """Return the table's metric of a finished cell in percent; None where there is none."""
    value = status.metrics.get(plan.table.metric) if status.status == DONE and status.metrics else None
    return None if value is None else 100 * value


def counts_path(cell: Cell) -> Path:
    """Return the counts file of a cell in its run store."""
    return cell.place.path / "counts.npz"


def reference_counts(cell: ReferenceCell, file: Path, plan: Plan) -> Counts | None:
    """Return the counts of ``cell``, kept beside the reference ``file`` or still in the run store; else None.

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


def updated(old: Reference | None, request: CheckRequest) -> Reference:
    """Make the reference with the selected cells as they are in the run store now, all others as they were.

    A flagged cell (:mod:`repro.runs.gates.plausible`) is never taken as what to expect. Raises UsageError where
    nothing selected is finished and plausible.
    """
    now = measured_cells(request)
    again = [(f.name, measured_cells(dataclasses.replace(request, runs=f))) for f in map(Path, request.repeats)]
    cells = {cell.id: cell for cell in old.cells} if old else {}
    done = {key: (plan, status) for key, (plan, status) in now.items() if status.countable}
    flagged = [f"{' '.join(map(str, key))}: {status.flag}" for key, (_, status) in now.items() if status.flag]
    if not done:
        raise UsageError(
            "no selected cell is finished: there is nothing to take as a reference",
            expected=f"finished cells of {', '.join(request.tables)} in {request.runs}",
            found="; ".join(flagged) or "none",
            mend=request.making(),
        )
    noise: dict[Key, list[tuple[str, float]]] = {}
    for key, (plan, status) in done.items():
        values = [(name, percent(*other[key])) for name, other in again if key in other]
        own = percent(plan, status)
        assert own is not None
        noise[key] = [(name, abs(value - own)) for name, value in values if value is not None]
    trained = [max(v for _, v in noise[key]) for key, (_, s) in done.items() if noise[key] and s.cell.run.train]
    floor = max(FLOOR, math.ceil(200 * sum(trained) / len(trained)) / 100) if trained else FLOOR
    for key, (plan, status) in done.items():
        # One repeat that happens to agree says little about its cell: trainings vouch for one another.
        least = floor if status.cell.run.train else FLOOR
        tolerance, reason = _tolerance(cells.get(key), noise[key], least, request)
        expected = percent(plan, status)
        assert expected is not None
        file = request.file if request.counts else None
        cells[key] = _cell(key, plan, status, expected, tolerance, reason, file)
    order = list(dict.fromkeys(c.table for c in cells.values()))
    ordered = sorted(cells.values(), key=lambda c: order.index(c.table))
    return Reference(request.profile, tuple(ordered), provenance("cpu"))


def _tolerance(
    old: ReferenceCell | None, noise: Sequence[tuple[str, float]], least: float, request: CheckRequest
) -> tuple[float, str]:
    """Return points and why; ``noise`` has the name of the run store of each repeat and its absolute difference.

    ``least``: what repeats of other cells ask for.
    """
    if noise:
        largest = max(value for _, value in noise)
        each = ", ".join(f"{name} {value:.3f}" for name, value in noise)
        return max(least, math.ceil(200 * largest) / 100), f"twice the largest of {each} points, at least {least}"
    if request.tolerance is not None:
        return request.tolerance, request.reason
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
        Counts.load(counts_path(status.cell)).save(file.parent / counts)
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
