"""``repro run`` and ``repro report`` for cost tables: count, time what is not timed yet, write."""

from __future__ import annotations

import argparse
import time
from typing import Any

from repro.cli import common
from repro.cli.table_states import tally
from repro.errors import UsageError, command
from repro.experiments.cost_table import CostStatus, TimingPlace, cost_status, measure
from repro.experiments.plan import Plan, make_plan
from repro.experiments.profiles import load_profile
from repro.experiments.status import FAILED, MISSING
from repro.experiments.tables import Table


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``run`` that only cost tables have."""
    group = parser.add_argument_group("cost tables (table2)")
    group.add_argument("--no-timing", action="store_true", help="count parameters and GFLOPs only; nothing is measured")
    group.add_argument(
        "--repeat", type=int, metavar="N", help="measured runs a row (default: 50 on a GPU, 10 on a CPU)"
    )


def refuse_options(options: argparse.Namespace, table: Table) -> None:
    """UsageError where options of one kind of table are given with the other."""
    without_use = {
        "cost": ("benchmarks", "seeds", "data_root", "iterations", "backbone", "dense_residual"),
        "maps": ("measures", "intervals", "no_timing", "repeat", "backbone", "dense_residual"),
        "regions": ("methods", "seeds", "iterations", "measures", "no_timing", "repeat"),
    }
    if table.kind in without_use:
        given = [n for n in without_use[table.kind] if getattr(options, n, None)]
    else:
        given = [n for n in ("no_timing", "repeat") if getattr(options, n, None)]
    if given:
        raise UsageError(
            f"{table.name} is a table of {table.kind} and has no use for --{given[0].replace('_', '-')}",
            expected="options of that kind of table",
            found=", ".join(f"--{n.replace('_', '-')}" for n in given),
            mend=f"leave it out; {command('repro', 'describe', table.name)}",
        )
    if getattr(options, "repeat", None) is not None and options.repeat < 1:
        raise UsageError("a timing needs at least one run", expected="--repeat 1 or more", found=options.repeat)


def run(options: argparse.Namespace, table: Table) -> int:
    """Make a cost table; exit code 1 where a row failed."""
    started = time.monotonic()
    plan = _plan(options, table)
    with common.stdout_to_stderr():
        timed = not options.no_timing
        place = TimingPlace.here(common.choose_device(options.device), options.repeat) if timed else None
        states = cost_status(plan, place)
    if options.dry_run:
        return _show_plan(plan, states, options)
    if place is not None and any(s.status == MISSING for s in states):
        with common.stdout_to_stderr():
            common.log(f"{table.title}, profile {plan.profile.name}: {tally(states, 'rows')}; timing on {place.label}")
            measure(plan, states, place, common.log)
    _finish(plan, states, options)
    common.log(f"{tally(states, 'rows')} after {common.duration(time.monotonic() - started)}")
    return 1 if any(s.status == FAILED for s in states) else 0


def report(options: argparse.Namespace, table: Table) -> tuple[Plan, list[CostStatus]]:
    """Write the table from counts and the timings kept for this machine; measures nothing. Returns what it showed."""
    plan = _plan(options, table)
    with common.stdout_to_stderr():
        states = cost_status(plan, TimingPlace.here(common.choose_device("auto")))
    _finish(plan, states, options)
    return plan, states


def _plan(options: argparse.Namespace, table: Table) -> Plan:
    return make_plan(table, load_profile(options.profile), options.runs, methods=options.methods)


def _finish(plan: Plan, states: list[CostStatus], options: argparse.Namespace) -> None:
    from repro.reports.cost import cost_sheet, write_cost_report

    folder = common.results_folder(options.profile, options.results)
    for path in write_cost_report(plan, states, folder, options.formats):
        common.log(f"wrote {path}")
    for state in states:
        if state.status == FAILED:
            common.log(f"failed: {state.cell.run.row.title} on {state.cell.run.tower.title}: {state.error}")
    if options.json:
        common.print_json(rows_json(plan, states))
    else:
        print(cost_sheet(plan, states).markdown())


def rows_json(plan: Plan, states: list[CostStatus]) -> list[dict[str, Any]]:
    """The rows as flat objects (keys: docs/json.md)."""
    return [state.to_json(plan.table.name) for state in states]


def _show_plan(plan: Plan, states: list[CostStatus], options: argparse.Namespace) -> int:
    if options.json:
        common.print_json(rows_json(plan, states))
        return 0
    print(f"{plan.table.title}: {plan.table.caption}\nProfile {plan.profile.name}: {plan.profile.title}\n")
    print("Rows")
    for state in states:
        run_, cost = state.cell.run, state.cost
        counted = f"{cost.parameters / 1e6:8.1f} M {cost.gflops:10.1f} GFLOPs" if cost else str(state.error)
        print(f"  {state.status:<8} {run_.row.title + ', ' + run_.tower.title:<48} {counted}")
    print(f"\n{tally(states, 'rows')}; needs neither data nor weights")
    return 0
