"""Tables of regions: how well a CLIP tower names boxes and masks of panoptic sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.configuration.published import PublishedRows
from repro.configuration.tables import Table
from repro.console import Log
from repro.measuring.region_seeds import pooled, with_seeds
from repro.measuring.regions import RegionStatus, check_rows, measure_regions, region_status
from repro.reports.tables.regions import region_numbers, region_sheet
from repro.reports.tables.sheet import Sheet
from repro.reports.tables.tex_numbers import Number
from repro.requests import TableRequest
from repro.runs.plan import Plan, make_plan
from repro.tables.kind import SheetKind, TableResult, swapped_table


class RegionKind(SheetKind[RegionStatus]):
    """A state is a tower on a panoptic set."""

    keeps = "accuracies of regions"
    prints_papers = True
    no_use = ("methods", "iterations", "measures", "no_timing", "repeat", "only", "calibrate")

    def plan(self, table: Table, request: TableRequest) -> Plan:
        profile = request.load()
        table = swapped_table(table, profile, request)
        table = with_seeds(table, profile, request.seeds) if request.seeds else table
        return make_plan(table, profile, request.runs, data_root=request.data_root)

    def states(self, plan: Plan, request: TableRequest) -> list[RegionStatus]:
        return region_status(plan, request.benchmarks)

    def compute(
        self, plan: Plan, states: list[RegionStatus], request: TableRequest, device: str, log: Log
    ) -> list[RegionStatus]:
        measure_regions(states, device, log)
        return states

    def label(self, state: RegionStatus) -> str:
        return f"{state.cell.run.row.title} on {_set(state)}"

    def sheet(self, plan: Plan, states: Sequence[RegionStatus]) -> Sheet:
        return region_sheet(plan, states)

    def around(self, plan: Plan, states: Sequence[RegionStatus], published: PublishedRows) -> Sheet:
        return region_sheet(plan, states, published)

    def records(self, plan: Plan, states: Sequence[RegionStatus]) -> list[Mapping[str, Any]]:
        records: list[Mapping[str, Any]] = []
        for row in dict.fromkeys(s.cell.run.row.id for s in states):
            own = [s for s in states if s.cell.run.row.id == row]
            sets = {_set(s): self.facts(plan, s) for s in own}
            records.append({"row": f"{own[0].cell.run.row.title}, {own[0].cell.run.tower.title}", "cost": sets})
        return records

    def check(self, result: TableResult[RegionStatus]) -> None:
        check_rows(result.plan, result.states, (result.request.baseline, result.request.row))

    def figures(self, result: TableResult[RegionStatus], folder: Path, log: Log) -> list[Path]:
        from repro.reports.figures.plots_regions import write_region_plots

        if all(state.ranks is None for state in result.states):
            log(f"no plots of {result.plan.table.name}: none of its cells is done")
            return []
        request = result.request
        states = pooled(result.states)
        return write_region_plots(result.plan, states, folder, baseline=request.baseline, row=request.row)

    def numbers(self, result: TableResult[RegionStatus]) -> Iterator[Number]:
        return region_numbers(result.plan, result.states)


def _set(state: RegionStatus) -> str:
    """Name the set of a state, and the seed of its alignment where that is not the first."""
    return f"{state.cell.source.title}, seed {state.seed}" if state.seed else state.cell.source.title


KIND = RegionKind()
