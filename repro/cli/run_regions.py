"""``repro run`` and ``repro report`` for region tables."""

from __future__ import annotations

import argparse
import time

from repro.cli import backbone, common
from repro.cli.table_states import exit_code, print_steps, tally
from repro.experiments.plan import Plan, make_plan
from repro.experiments.region_table import RegionStatus, measure_regions, region_status
from repro.experiments.status import FAILED, MISSING, STALE
from repro.experiments.tables import Table


def run(options: argparse.Namespace, table: Table) -> int:
    """Make a region table; exit code 1 where a cell failed, 3 where cells wait for data or weights."""
    started = time.monotonic()
    plan, states = _states(options, table)
    if options.dry_run:
        return _show_plan(plan, states, options)
    if any(s.status in (MISSING, STALE) for s in states):
        with common.stdout_to_stderr():
            device = common.choose_device(options.device)
            common.log(f"{table.title}, profile {plan.profile.name}: {tally(states)}; device {device}")
            measure_regions(states, device, common.log)
    _finish(plan, states, options)
    for what, mend in dict.fromkeys((m.what, m.mend) for s in states for m in s.needs):
        common.log(f"missing: {what}\n           {mend}")
    common.log(f"{tally(states)} after {common.duration(time.monotonic() - started)}")
    return exit_code(states)


def report(options: argparse.Namespace, table: Table) -> tuple[Plan, list[RegionStatus]]:
    """Write the table from finished cells only; computes nothing."""
    plan, states = _states(options, table)
    _finish(plan, states, options)
    return plan, states


def _states(options: argparse.Namespace, table: Table) -> tuple[Plan, list[RegionStatus]]:
    profile = backbone.chosen_profile(options)
    table = backbone.chosen_table(table, profile, options)
    plan = make_plan(table, profile, options.runs, data_root=options.data_root)
    return plan, region_status(plan, options.benchmarks)


def _finish(plan: Plan, states: list[RegionStatus], options: argparse.Namespace) -> None:
    from repro.reports.regions import region_sheet, write_region_report

    folder = common.results_folder(options.profile, options.results)
    for path in write_region_report(plan, states, folder, options.formats):
        common.log(f"wrote {path}")
    for state in states:
        if state.status == FAILED:
            common.log(f"failed: {state.cell.run.row.title} on {state.cell.source.title}: {state.error}")
    if options.json:
        common.print_json([state.to_json(plan.table.name) for state in states])
    else:
        print(region_sheet(plan, states).markdown())


def _show_plan(plan: Plan, states: list[RegionStatus], options: argparse.Namespace) -> int:
    if options.json:
        common.print_json([state.to_json(plan.table.name) for state in states])
        return 0
    print_steps(plan)
    print("\nCells")
    for state in states:
        print(f"  {state.status:<8} {state.cell.run.row.title} on {state.cell.source.title}")
    for what, mend in dict.fromkeys((m.what, m.mend) for s in states for m in s.needs):
        print(f"missing: {what}\n    {mend}")
    for state in states:
        if state.status == STALE:
            print(f"stale: {state.cell.run.row.title}: {state.error}")
    print(f"\n{tally(states)}")
    return 0
