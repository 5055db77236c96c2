"""Tables of controls: signs by which a method that works is told from one that only runs (docs/controls.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repro.console import Log
from repro.measuring.controls import TITLES, ControlStatus, control_status, measure_controls
from repro.reports.tables.controls import control_sheet
from repro.reports.tables.sheet import Sheet
from repro.requests import TableRequest
from repro.runs.plan import Plan
from repro.tables.kind import SheetKind


class ControlKind(SheetKind[ControlStatus]):
    """A state is a control of a row. One that does not hold is a result, not a failure."""

    unit, keeps = "controls", "controls"
    no_use = ("no_timing", "repeat", "only", "calibrate")

    def states(self, plan: Plan, request: TableRequest) -> list[ControlStatus]:
        return control_status(plan)

    def compute(
        self, plan: Plan, states: list[ControlStatus], request: TableRequest, device: str, log: Log
    ) -> list[ControlStatus]:
        return measure_controls(plan, states, device, log)

    def label(self, state: ControlStatus) -> str:
        return f"{state.control.run.row.title}: {TITLES[state.control.kind]}"

    def tally(self, states: Sequence[ControlStatus]) -> str:
        failing = sum(s.verdict is not None and not s.verdict.holds for s in states)
        counted = super().tally(states)
        return f"{counted}, {failing} do not hold" if failing else counted

    def sheet(self, plan: Plan, states: Sequence[ControlStatus]) -> Sheet:
        return control_sheet(plan, states)

    def records(self, plan: Plan, states: Sequence[ControlStatus]) -> list[Mapping[str, Any]]:
        records: list[Mapping[str, Any]] = []
        for run in dict.fromkeys(s.control.run.address for s in states):
            own = [s for s in states if s.control.run.address == run]
            known = {s.control.kind: self.facts(plan, s).items() for s in own}
            values = {kind: {k: v for k, v in facts if v is not None} for kind, facts in known.items()}
            records.append({"row": own[0].control.run.row.title, "cost": values})
        return records


KIND = ControlKind()
