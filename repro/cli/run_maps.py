"""``repro run`` and ``repro report`` for map tables."""

from __future__ import annotations

import argparse
import time

from repro.cli import common
from repro.experiments.map_table import MapStatus, map_status, measure_map_table
from repro.experiments.plan import Plan, make_plan
from repro.experiments.profiles import load_profile
from repro.experiments.status import BLOCKED, DONE, FAILED, MISSING, STALE, plan_steps
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
            common.log(f"{table.title}, profile {plan.profile.name}: {_tally(states)}; device {device}")
            measure_map_table(plan, states, device, common.log)
    _finish(plan, states, options)
    for what, mend in dict.fromkeys((m.what, m.mend) for s in states for m in s.needs):
        common.log(f"missing: {what}\n           {mend}")
    common.log(f"{_tally(states)} after {common.duration(time.monotonic() - started)}")
    if any(s.status == FAILED for s in states):
        return 1
    return 3 if any(s.status == BLOCKED for s in states) else 0


def report(options: argparse.Namespace, table: Table) -> tuple[Plan, list[MapStatus]]:
    """Write the table from finished cells only; computes nothing."""
    plan, states = _states(options, table)
    _finish(plan, states, options)
    return plan, states


def _states(options: argparse.Namespace, table: Table) -> tuple[Plan, list[MapStatus]]:
    iterations = getattr(options, "iterations", None)
    plan = make_plan(
        table,
        load_profile(options.profile),
        options.runs,
        data_root=options.data_root,
        methods=options.methods,
        benchmarks=options.benchmarks,
        seeds=options.seeds,
        overrides={"iterations": iterations} if iterations else None,
    )
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


def _tally(states: list[MapStatus]) -> str:
    counts = {s: sum(state.status == s for state in states) for s in (DONE, MISSING, STALE, BLOCKED, FAILED)}
    return ", ".join(f"{n} {s}" for s, n in counts.items() if n) + f" of {len(states)} cells"


def _show_plan(plan: Plan, states: list[MapStatus], options: argparse.Namespace) -> int:
    if options.json:
        common.print_json([state.to_json(plan.table.name) for state in states])
        return 0
    print(f"{plan.table.title}: {plan.table.caption}\nProfile {plan.profile.name}: {plan.profile.title}\n\nSteps")
    for step in plan_steps(plan):
        print(f"  {'done' if step.done else 'missing':<8} {step.what:<60} {common.duration(step.seconds)}")
    print("\nCells")
    for state in states:
        run = state.cell.cell.run
        print(f"  {state.status:<8} {run.row.title}, seed {run.seed}, on {state.cell.cell.benchmark.id}")
    for what, mend in dict.fromkeys((m.what, m.mend) for s in states for m in s.needs):
        print(f"missing: {what}\n    {mend}")
    for state in states:
        if state.status == STALE:
            print(f"stale: {state.cell.cell.run.row.title}: {state.error}")
    print(f"\n{_tally(states)}")
    return 0
