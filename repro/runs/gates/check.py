"""``repro check``: a table against its reference values, and the values of now as the reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.errors import RunError, UsageError, command
from repro.mends import same_folders
from repro.paths import DEFAULT_RESULTS, DEFAULT_RUNS
from repro.runs.gates.comparison import BETTER, MISSING, NEW, OTHER, UNCLEAR, WORSE, Verdict, judge
from repro.runs.gates.reference import (
    Reference,
    ReferenceCell,
    Selection,
    Tolerances,
    seeds_of,
    selected,
    updated,
)


@dataclasses.dataclass(frozen=True)
class CheckRequest:
    """A check of ``tables`` (none named: all of the reference) against the file ``against``.

    ``profile`` None: that of the reference; ``against`` None: ./results/<profile>/reference.json. ``tolerance`` in
    points replaces each cell's own. ``allow_better`` lets improvements pass, ``strict`` lets missing and unclear cells
    fail. ``repeats``, ``reason`` and ``counts`` are for an update: run stores with the same cells computed again, why
    ``tolerance`` is what it is, and whether the counts are kept beside the reference.
    """

    tables: Sequence[str] = ()
    profile: str | None = None
    runs: Path = DEFAULT_RUNS
    data_root: Path | None = None
    methods: Sequence[str] | None = None
    benchmarks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    against: Path | None = None
    tolerance: float | None = None
    allow_better: bool = False
    strict: bool = False
    reason: str = "set by hand"
    repeats: Sequence[Path | str] = ()
    counts: bool = False

    @property
    def file(self) -> Path:
        """The reference file."""
        return self.against or DEFAULT_RESULTS / Path(self.profile or "mini").stem / "reference.json"

    def selection(self, profile: str, tables: Sequence[str]) -> Selection:
        """Return the cells that are asked for, of ``profile`` and ``tables``."""
        return Selection(tables, profile, self.runs, self.data_root, self.methods, self.benchmarks, self.seeds)


@dataclasses.dataclass(frozen=True)
class Checked:
    """What :func:`check_reference` found."""

    request: CheckRequest
    selection: Selection
    verdicts: tuple[Verdict, ...]

    @property
    def failed(self) -> list[Verdict]:
        """The verdicts that do not pass."""
        failing = {WORSE, OTHER} | (set() if self.request.allow_better else {BETTER})
        failing |= {MISSING, UNCLEAR} if self.request.strict else set()
        return [v for v in self.verdicts if v.verdict in failing]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/regression-gate.md)."""
        head = {"reference": str(self.request.file), "profile": self.selection.profile, "passed": not self.failed}
        return {**head, "cells": [v.to_json() for v in self.verdicts]}

    def refuse_empty(self) -> None:
        """Raise RunError where nothing failed because no cell could be compared."""
        if self.failed or any(v.verdict not in (MISSING, NEW) for v in self.verdicts):
            return
        asked, first = self.request, self.selection.tables[0]
        folders = same_folders(asked.runs, asked.data_root)
        raise RunError(
            "no cell could be compared",
            expected=f"finished cells of {', '.join(self.selection.tables)} in {asked.runs}",
            found=f"{sum(v.verdict == MISSING for v in self.verdicts)} missing cells",
            mend=command("repro", "run", first, "--profile", self.selection.profile, *folders),
        )


@dataclasses.dataclass(frozen=True)
class Updated:
    """What :func:`update_reference` wrote; ``before`` are the cells of the old reference by what identifies them."""

    file: Path
    reference: Reference
    before: dict[tuple[str, str, int, str], ReferenceCell]

    @property
    def changed(self) -> list[ReferenceCell]:
        """The cells that are new or expect another value."""
        return [c for c in self.reference.cells if c.id not in self.before or self.before[c.id].expected != c.expected]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/regression-gate.md)."""
        head = {"reference": str(self.file), "profile": self.reference.profile, "cells": len(self.reference.cells)}
        return {**head, "changed": [list(c.id) for c in self.changed]}


def check_reference(request: CheckRequest) -> Checked:
    """Judge every selected cell; UsageError for an absent reference and for one of another profile."""
    reference = Reference.load(request.file)
    if request.profile is not None and request.profile != reference.profile:
        raise UsageError(
            f"{request.file} is a reference of another profile",
            expected=command("--profile", reference.profile),
            found=command("--profile", request.profile),
            mend="leave --profile out",
        )
    selection = request.selection(reference.profile, request.tables or reference.tables)
    seeds = request.seeds or seeds_of(selected(reference, selection).values()) or None
    selection = dataclasses.replace(selection, seeds=seeds)
    return Checked(request, selection, tuple(judge(reference, request.file, selection, request.tolerance)))


def update_reference(request: CheckRequest) -> Updated:
    """Write the selected cells as they are in the run store now into the reference, and return what changed.

    Raises UsageError where the file holds another profile and where nothing selected is finished.
    """
    file = request.file
    old = Reference.load(file) if file.is_file() else None
    profile = request.profile or (old.profile if old else "mini")
    if old is not None and old.profile != profile:
        raise UsageError(
            f"{file} holds values of profile {old.profile}",
            found=command("--profile", profile),
            mend=f"name another file: {command('--against', Path('results', Path(profile).stem, 'reference.json'))}",
        )
    selection = request.selection(profile, request.tables or (old.tables if old else ["table1"]))
    tolerances = Tolerances([Path(folder) for folder in request.repeats], request.tolerance, request.reason)
    reference = updated(old, selection, tolerances, file, keep_counts=request.counts)
    reference.save(file)
    return Updated(file, reference, {cell.id: cell for cell in old.cells} if old else {})
