"""``repro run`` and ``repro report`` for control tables."""

from __future__ import annotations

import argparse
import time

from repro.cli import common
from repro.cli.table_states import chosen_plan, exit_code, print_steps, tally
from repro.experiments.control_table import TITLES, ControlStatus, control_status, measure_controls
from repro.experiments.plan import Plan
from repro.experiments.status import FAILED, MISSING
from repro.experiments.tables import Table


def run(options: argparse.Namespace, table: Table) -> int:
    """Make a control table; exit code 1 where a control failed to run, 3 where one waits for data or weights.

    A control that does not hold is a result, not a failure.
    """
    started = time.monotonic()
    plan, states = _states(options, table)
    if options.dry_run:
        return _show_plan(plan, states, options)
    if any(s.status == MISSING for s in states):
        with common.stdout_to_stderr():
            device = common.choose_device(options.device)
            common.log(f"{table.title}, profile {plan.profile.name}: {_tally(states)}; device {device}")
            states = measure_controls(plan, states, device, common.log)
    _finish(plan, states, options)
    common.log(f"{_tally(states)} after {common.duration(time.monotonic() - started)}")
    return exit_code(states)


def report(options: argparse.Namespace, table: Table) -> tuple[Plan, list[ControlStatus]]:
    """Write the table from what is measured only; computes nothing."""
    plan, states = _states(options, table)
    _finish(plan, states, options)
    return plan, states


def _states(options: argparse.Namespace, table: Table) -> tuple[Plan, list[ControlStatus]]:
    plan = chosen_plan(options, table)
    return plan, control_status(plan)


def _finish(plan: Plan, states: list[ControlStatus], options: argparse.Namespace) -> None:
    from repro.reports.controls import control_sheet, write_control_report

    folder = common.results_folder(options.profile, options.results)
    for path in write_control_report(plan, states, folder, options.formats):
        common.log(f"wrote {path}")
    for state in states:
        if state.status == FAILED:
            run = state.control.run
            common.log(f"failed: {run.row.title}, {TITLES[state.control.kind]}: {state.error}")
    if options.json:
        common.print_json([state.to_json(plan.table.name) for state in states])
    else:
        print(control_sheet(plan, states).markdown())


def _tally(states: list[ControlStatus]) -> str:
    failing = sum(s.verdict is not None and not s.verdict.holds for s in states)
    counted = tally(states, "controls")
    return f"{counted}, {failing} do not hold" if failing else counted


def _show_plan(plan: Plan, states: list[ControlStatus], options: argparse.Namespace) -> int:
    if options.json:
        common.print_json([state.to_json(plan.table.name) for state in states])
        return 0
    print_steps(plan)
    print("\nControls")
    for state in states:
        print(f"  {state.status:<8} {state.control.run.row.title}: {TITLES[state.control.kind]}")
    print(f"\n{_tally(states)}")
    return 0
