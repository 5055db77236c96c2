"""Tables of costs: parameters, multiply-adds, seconds and memory of one inference; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repro.configuration.published import PublishedRows
from repro.configuration.tables import Table
from repro.console import Log, stdout_to_stderr
from repro.hardware import choose_device
from repro.measuring.cost import CostStatus, TimingPlace, cost_status, measure
from repro.reports.tables.cost import cost_numbers, cost_rows, cost_sheet
from repro.reports.tables.sheet import Sheet
from repro.reports.tables.tex_numbers import Number
from repro.requests import TableRequest
from repro.runs.plan import Plan, make_plan
from repro.tables.kind import SheetKind, TableResult, heading


class CostKind(SheetKind[CostStatus]):
    """A row is a method on a tower."""

    unit, keeps = "rows", "costs"
    prints_papers = True
    no_use = ("benchmarks", "seeds", "data_root", "iterations", "backbone", "dense_residual", "only", "calibrate")

    def plan(self, table: Table, request: TableRequest) -> Plan:
        return make_plan(table, request.load(), request.runs, methods=request.methods)

    def states(self, plan: Plan, request: TableRequest) -> list[CostStatus]:
        with stdout_to_stderr():
            place = TimingPlace.here(choose_device(request.device), request.repeat) if request.timing else None
        return cost_status(plan, place)

    def compute(
        self, plan: Plan, states: list[CostStatus], request: TableRequest, device: str, log: Log
    ) -> list[CostStatus]:
        measure(plan, states, log)
        return states

    def where(self, states: Sequence[CostStatus], device: str) -> str:
        place = next((s.place for s in states if s.place), None)
        return f"timing on {place.label}" if place else super().where(states, device)

    def label(self, state: CostStatus) -> str:
        return f"{state.cell.run.row.title} on {state.cell.run.tower.title}"

    def preview(self, result: TableResult[CostStatus]) -> Iterator[str]:
        yield from heading(result.plan)
        yield "\nRows"
        for state in result.states:
            run, cost = state.cell.run, state.cost
            counted = f"{cost.parameters / 1e6:8.1f} M {cost.gflops:10.1f} GFLOPs" if cost else str(state.error)
            yield f"  {state.status:<8} {run.row.title + ', ' + run.tower.title:<48} {counted}"
        yield f"\n{self.tally(result.states)}; needs neither data nor weights"

    def sheet(self, plan: Plan, states: Sequence[CostStatus]) -> Sheet:
        return cost_sheet(plan, states)

    def around(self, plan: Plan, states: Sequence[CostStatus], published: PublishedRows) -> Sheet:
        return cost_sheet(plan, states, published)

    def rows(self, plan: Plan, states: Sequence[CostStatus]) -> list[dict[str, Any]]:
        return cost_rows(plan, states)

    def records(self, plan: Plan, states: Sequence[CostStatus]) -> list[Mapping[str, Any]]:
        records: list[Mapping[str, Any]] = []
        for state in states:
            own, run = {k: v for k, v in self.facts(plan, state).items() if k not in ("table", "row")}, state.cell.run
            records.append({"row": f"{run.row.title}, {run.tower.title}", "cost": own, "timing": state.timing})
        return records

    def numbers(self, result: TableResult[CostStatus]) -> Iterator[Number]:
        return cost_numbers(result.plan, result.states)


KIND = CostKind()
