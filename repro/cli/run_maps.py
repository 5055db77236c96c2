"""``repro run`` and ``repro report`` for map tables."""

from __future__ import annotations

import argparse
import time

from repro.cli import common
from repro.cli.table_states import chosen_plan, exit_code, print_steps, tally
from repro.experiments.map_table import MapStatus, map_status, measure_map_table
from repro.experiments.plan import Plan
from repro.experiments.status import FAILED, MISSING, STALE
from repro.experiments.tables import Table


def run(options: argparse.Namespace, table: Table) -> int:
    """Make a map table; exit code 1 where a cell failed, 3 where cells wait for data or weights."""
    started = time.monotonic()
    plan, states = _states(options, table)
    if options.dry_run:
        return _show_plan(plan, states, options)
    if any(s.status in (MISSING, STALE) for s in states):
        with common.stdout_to_stderr():
            device = common.choose_device(options.device)
            common.log(f"{table.title}, profile {plan.profile.name}: {tally(states)}; device {device}")
            measure_map_table(plan, states, device, common.log)
    _finish(plan, states, options)
    for what, mend in dict.fromkeys((m.what, m.mend) for s in states for m in s.needs):
        common.log(f"missing: {what}\n           {mend}")
    common.log(f"{tally(states)} after {common.duration(time.monotonic() - started)}")
    return exit_code(states)


def report(options: argparse.Namespace, table: Table) -> tuple[Plan, list[MapStatus]]:
    """Write the table from finished cells only; computes nothing."""
    plan, states = _states(options, table)
    _finish(plan, states, options)
    return plan, states


def _states(options: argparse.Namespace, table: Table) -> tuple[Plan, list[MapStatus]]:
    plan = chosen_plan(options, table)
    return plan, map_status(plan)


def _finish(plan: Plan, states: list[MapStatus], options: argparse.Namespace) -> None:
    from repro.reports.maps import map_sheet, write_map_report

    folder = common.results_folder(options.profile, options.results)
    for path in write_map_report(plan, states, folder, options.formats):
        common.log(f"wrote {path}")
    for state in states:
        if state.status == FAILED:
            run = state.cell.cell.run
            common.log(f"failed: {run.row.title} on {state.cell.cell.benchmark.id}: {state.error}")
    if options.json:
        common.print_json([state.to_json(plan.table.name) for state in states])
    else:
        print(map_sheet(plan, states).markdown())


def _show_plan(plan: Plan, states: list[MapStatus], options: argparse.Namespace) -> int:
    if options.json:
        common.print_json([state.to_json(plan.table.name) for state in states])
        return 0
    print_steps(plan)
    print("\nCells")
    for state in states:
        run = state.cell.cell.run
        print(f"  {state.status:<8} {run.row.title}, seed {run.seed}, on {state.cell.cell.benchmark.id}")
    for what, mend in dict.fromkeys((m.what, m.mend) for s in states for m in s.needs):
        print(f"missing: {what}\n    {mend}")
    for state in states:
        if state.status == STALE:
            print(f"stale: {state.cell.cell.run.row.title}: {state.error}")
    print(f"\n{tally(states)}")
    return 0
