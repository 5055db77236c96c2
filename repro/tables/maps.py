"""Tables of maps: how well what methods show of themselves finds the pixels of a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from repro.console import Log
from repro.measuring.maps import MapStatus, map_status, measure_map_table
from repro.reports.tables.maps import map_numbers, map_sheet
from repro.reports.tables.sheet import Sheet
from repro.reports.tables.tex_numbers import Number
from repro.requests import TableRequest
from repro.runs.plan import Plan
from repro.tables.kind import SheetKind, TableResult


class MapKind(SheetKind[MapStatus]):
    """A state is a trained run on a benchmark."""

    keeps = "scores of maps"
    no_use = ("measures", "intervals", "no_timing", "repeat", "backbone", "dense_residual", "only", "calibrate")

    def states(self, plan: Plan, request: TableRequest) -> list[MapStatus]:
        return map_status(plan)

    def compute(
        self, plan: Plan, states: list[MapStatus], request: TableRequest, device: str, log: Log
    ) -> list[MapStatus]:
        measure_map_table(plan, states, device, log)
        return states

    def label(self, state: MapStatus) -> str:
        cell = state.cell.cell
        return f"{cell.run.row.title}, seed {cell.run.seed}, on {cell.benchmark.id}"

    def sheet(self, plan: Plan, states: Sequence[MapStatus]) -> Sheet:
        return map_sheet(plan, states)

    def records(self, plan: Plan, states: Sequence[MapStatus]) -> list[Mapping[str, Any]]:
        groups: dict[tuple[str, str], list[MapStatus]] = {}
        for state in states:
            groups.setdefault((state.cell.cell.run.row.id, state.cell.cell.benchmark.id), []).append(state)
        records: list[Mapping[str, Any]] = []
        for (_, benchmark), own in groups.items():
            seeds = {f"seed {s.cell.cell.run.seed}": self.facts(plan, s) for s in own}
            records.append({"row": f"{own[0].cell.cell.run.row.title}, {benchmark}", "cost": seeds})
        return records

    def numbers(self, result: TableResult[MapStatus]) -> Iterator[Number]:
        return map_numbers(result.plan, result.states)


KIND = MapKind()
