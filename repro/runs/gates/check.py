"""``repro check``: a table against its reference values, and the values of now as the reference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from repro.errors import RunError, UsageError, command
from repro.runs.gates.comparison import BETTER, MISSING, NEW, OTHER, UNCLEAR, WORSE, Verdict, judge
from repro.runs.gates.reference import CheckRequest, Key, Reference, ReferenceCell, seeds_of, selected, updated


@dataclasses.dataclass(frozen=True)
class Checked:
    """What :func:`check_reference` found."""

    request: CheckRequest
    """With the tables and the profile of the reference where it named none."""
    verdicts: tuple[Verdict, ...]

    @property
    def failed(self) -> list[Verdict]:
        """The verdicts that do not pass."""
        failing = {WORSE, OTHER} | (set() if self.request.allow_better else {BETTER})
        failing |= {MISSING, UNCLEAR} if self.request.strict else set()
        return [v for v in self.verdicts if v.verdict in failing]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/regression-gate.md)."""
        head = {"reference": str(self.request.file), "profile": self.request.profile, "passed": not self.failed}
        return {**head, "cells": [v.to_json() for v in self.verdicts]}

    def refuse_empty(self) -> None:
        """Raise RunError where nothing failed because no cell could be compared."""
        if self.failed or any(v.verdict not in (MISSING, NEW) for v in self.verdicts):
            return
        raise RunError(
            "no cell could be compared",
            expected=f"finished cells of {', '.join(self.request.tables)} in {self.request.runs}",
            found=f"{sum(v.verdict == MISSING for v in self.verdicts)} missing cells",
            mend=self.request.making(),
        )


@dataclasses.dataclass(frozen=True)
class Updated:
    """What :func:`update_reference` wrote; ``before`` are the cells of the old reference by what identifies them."""

    file: Path
    reference: Reference
    before: dict[Key, ReferenceCell]

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
    file = request.file
    reference = Reference.load(file)
    if request.profile and request.profile != reference.profile:
        raise UsageError(
            f"{file} is a reference of another profile",
            expected=command("--profile", reference.profile),
            found=command("--profile", request.profile),
            mend="leave --profile out",
        )
    tables = request.tables or reference.tables
    request = dataclasses.replace(request, tables=tables, profile=reference.profile, against=file)
    seeds = request.seeds or seeds_of(selected(reference, request).values()) or None
    request = dataclasses.replace(request, seeds=seeds)
    return Checked(request, tuple(judge(reference, request)))


def update_reference(request: CheckRequest) -> Updated:
    """Write the selected cells as they are in the run store now into the reference, and return what changed.

    Raises UsageError where the file holds another profile and where nothing selected is finished.
    """
    file = request.own
    old = Reference.load(file) if file.is_file() else None
    profile = request.profile or (old.profile if old else "mini")
    if old is not None and old.profile != profile:
        raise UsageError(
            f"{file} holds values of profile {old.profile}",
            found=command("--profile", profile),
            mend=f"name another file: {command('--against', Path('results', Path(profile).stem, 'reference.json'))}",
        )
    tables = request.tables or (old.tables if old else ["table1"])
    reference = updated(old, dataclasses.replace(request, tables=tables, profile=profile, against=file))
    reference.save(file)
    return Updated(file, reference, {cell.id: cell for cell in old.cells} if old else {})
