"""``repro run TABLE``, and what ``repro report TABLE`` shares with it."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro import ranks
from repro.cli import backbone, common, launching, run_controls, run_cost, run_maps, run_regions
from repro.cli.table_states import exit_code, tally
from repro.errors import UsageError
from repro.experiments import grid
from repro.experiments.plan import Plan, make_plan
from repro.experiments.status import (
    BLOCKED,
    DONE,
    FAILED,
    CellStatus,
    plan_status,
    plan_steps,
    remaining_seconds,
)
from repro.experiments.tables import Table, load_table

if TYPE_CHECKING:
    from repro.launch.job import Launch
    from repro.reports.columns import Columns


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Options of ``run`` and ``report``."""
    parser.add_argument(
        "table", help="table1, table2, .. (repro list names all)" + (", or all" * (command == "report"))
    )
    common.add_plan_options(parser)
    parser.add_argument("--results", type=Path, metavar="DIR", help="where tables go (default: ./results/<profile>)")
    common.add_json_option(parser)
    parser.add_argument("--intervals", action="store_true", help="print 95 %% intervals beside the numbers")
    parser.add_argument("--formats", type=common.report_formats, default=["csv", "latex", "md"], help="csv,latex,md")
    common.add_measures_option(parser)
    parser.add_argument(
        "--keep-implausible", action="store_true", help="average numbers that are no better than chance, too"
    )
    backbone.add_options(parser, tower=True)
    if command == "report":
        return
    common.add_device_option(parser)
    launching.add_amp_option(parser)
    launching.add_options(parser, ("local", "torchrun", "slurm"))
    parser.add_argument("--only", metavar="RUN", help="this run of the table only (its id); writes no files")
    parser.add_argument("--dry-run", action="store_true", help="show what is done, missing and expected")
    parser.add_argument(
        "--calibrate", action="store_true", help="with --dry-run: time some images of each benchmark first (minutes)"
    )
    parser.add_argument("--iterations", type=common.positive, metavar="N", help="train for N instead (a trial)")
    run_cost.add_options(parser)
    parser.epilog = (
        "Finished cells are never recomputed; after an interruption the same command continues. Without options\n"
        "results go to ./runs and ./results/<profile>/."
    )
    parser.set_defaults(execute=run)


def table_plan(table: Table, options: argparse.Namespace) -> Plan:
    """The plan of ``table`` that the options select."""
    profile = backbone.chosen_profile(options)
    if getattr(options, "keep_implausible", False):
        profile = dataclasses.replace(profile, flag_implausible=False)
    return make_plan(
        backbone.chosen_table(table, profile, options),
        profile,
        options.runs,
        data_root=options.data_root,
        methods=options.methods,
        benchmarks=options.benchmarks,
        seeds=options.seeds,
        overrides=launching.overrides(options),
        measures=common.measures_to_count(options) if options.execute is run else (),
    )


def run(options: argparse.Namespace) -> int:
    """Make a table; exit code 1 where a cell failed, 3 where cells wait for data or weights."""
    started = time.monotonic()
    table = load_table(options.table)
    run_cost.refuse_options(options, table)
    launching.refuse_options(options, table)
    if table.kind == "cost":
        return run_cost.run(options, table)
    if table.kind == "regions":
        return run_regions.run(options, table)
    if table.kind == "maps":
        return run_maps.run(options, table)
    if table.kind == "controls":
        return run_controls.run(options, table)
    plan = table_plan(table, options)
    if options.only:
        plan = dataclasses.replace(plan, runs=grid.only(plan, options.only))
    how = launching.chosen(options)
    if options.calibrate:
        _calibrate(plan, options)
    cells = plan_status(plan)
    if options.dry_run:
        return _show_plan(plan, cells, options)
    for line in stale_lines(cells):
        common.log(line)
    if any(c.status not in (DONE, BLOCKED) for c in cells):
        if how is not None and options.only:
            return launching.start(options, how, options.runs, plan.runs[0].id)
        with common.stdout_to_stderr():
            try:
                cells = _compute(plan, cells, options, how)
            except KeyboardInterrupt:
                write_table(plan, plan_status(plan), options)
                raise
    write_table(plan, cells, options)
    if not ranks.is_first():
        return 0
    for cell in cells:
        if cell.status == FAILED:
            common.log(f"failed: {cell.cell.run.row.title} on {cell.cell.benchmark.id}: {cell.error}")
    _warn_blocked(cells)
    print_result(plan, cells, options)
    common.log(f"{tally(cells)} after {common.duration(time.monotonic() - started)}")
    return exit_code(cells)


def _compute(plan: Plan, cells: list[CellStatus], options: argparse.Namespace, how: Launch | None) -> list[CellStatus]:
    title = f"{plan.table.title}, profile {plan.profile.name}: {tally(cells)}"
    if how is not None:
        common.log(f"{title}; by {how.launcher}")
        launching.placement(options)
        words = launching.own_words(options)
        if how.launcher == "torchrun":
            words = launching.torchrun_words(options, how)
        return grid.launch(plan, words, how, common.log)
    from repro.experiments.execute import execute, joined

    placement, device = launching.placement(options), common.choose_device(options.device)
    common.log(f"{title}; device {device}")
    with joined(plan, device, common.log) as own:
        return execute(plan, device=own, log=common.log, placement=placement)


def write_table(plan: Plan, cells: list[CellStatus], options: argparse.Namespace) -> None:
    """Write the table in the formats asked for; a part of one (``--only``) is not written."""
    if getattr(options, "only", None) or not ranks.is_first():
        return
    from repro.reports.writers import write_report

    folder, columns = common.results_folder(options.profile, options.results), _columns(options)
    for path in write_report(plan, cells, folder, options.formats, columns):
        common.log(f"wrote {path}")


def _columns(options: argparse.Namespace) -> Columns:
    from repro.reports.columns import Columns

    return Columns(options.intervals, common.chosen_measures(options))


def print_result(plan: Plan, cells: list[CellStatus], options: argparse.Namespace) -> None:
    """The table as Markdown, or its cells as JSON, on stdout."""
    if options.json:
        common.print_json(cells_json(plan, cells))
        return
    from repro.reports.writers import table_text

    print(table_text(plan, cells, "md", _columns(options)))


def cells_json(plan: Plan, cells: list[CellStatus]) -> list[dict[str, Any]]:
    """The cells as flat objects (keys: docs/json.md)."""
    return [cell.to_json(plan.table.name) for cell in cells]


def stale_lines(cells: Sequence[CellStatus]) -> list[str]:
    """What is stale and why, once for each reason, and how to use it all the same."""
    by_reason: dict[str, list[CellStatus]] = {}
    for cell in cells:
        if cell.stale:
            by_reason.setdefault(cell.stale, []).append(cell)
    lines: list[str] = []
    for reason, own in by_reason.items():
        runs = dict.fromkeys(f"{c.cell.run.row.title}, seed {c.cell.run.seed}" for c in own)
        lines.append(f"stale: {'; '.join(runs)} ({len(own)} {'cell' if len(own) == 1 else 'cells'}): {reason}")
    if lines:
        lines.append(
            "What is stale is computed again into folders of its own; to use it as it is: repro runs adopt RUN"
        )
    return lines


def _warn_blocked(cells: list[CellStatus]) -> None:
    needs = dict.fromkeys((m.what, m.mend) for c in cells if c.status == BLOCKED for m in c.needs)
    for what, mend in needs:
        common.log(f"missing: {what}\n           {mend}")


def _show_plan(plan: Plan, cells: list[CellStatus], options: argparse.Namespace) -> int:
    if options.json:
        common.print_json(cells_json(plan, cells))
        return 0
    print(f"{plan.table.title}: {plan.table.caption}\nProfile {plan.profile.name}: {plan.profile.title}\n")
    print("Steps")
    for step in plan_steps(plan):
        state, left = ("done", "") if step.done else ("missing", common.duration(step.seconds))
        print(f"  {state:<8} {step.what:<60} {left}")
    from repro.experiments.recipe import recipe_lines

    for line in recipe_lines(plan):
        print(f"  {line}")
    width = max(len(b.id) for b in plan.benchmarks) + 3
    titles = {run_.id: f"{run_.row.title}, {run_.tower.title}, seed {run_.seed}" for run_ in plan.runs}
    margin = max(map(len, titles.values()))
    print(f"\nCells\n  {'':<{margin}}" + "".join(f"{b.id:>{width}}" for b in plan.benchmarks))
    for run_ in plan.runs:
        own = [c for c in cells if c.cell.run is run_]
        print(f"  {titles[run_.id]:<{margin}}" + "".join(f"{c.status:>{width}}" for c in own))
    for line in stale_lines(cells):
        print(line)
    needs = dict.fromkeys((m.what, m.mend) for c in cells for m in c.needs)
    if needs:
        print("\nMissing")
        for what, mend in needs:
            print(f"  {what}\n      {mend}")
    remaining = remaining_seconds(plan, cells)
    basis = plan.profile.cost.get("hardware")
    print(
        f"\n{tally(cells)}; expected time {common.duration(remaining)}" + (f" (measured on {basis})" if basis else "")
    )
    _show_calibration(plan)
    return 0


def _calibrate(plan: Plan, options: argparse.Namespace) -> None:
    if not options.dry_run:
        raise UsageError("--calibrate serves the estimate of --dry-run", mend="add --dry-run, or leave it out")
    from repro.experiments.calibration import calibrate

    with common.stdout_to_stderr():
        calibrate(plan, common.choose_device(options.device), common.log)


def _show_calibration(plan: Plan) -> None:
    """What the evaluations alone take, row by row, where they were calibrated on a machine."""
    from repro.experiments.calibration import calibrated, calibrated_seconds

    for run_ in plan.runs:
        found = [calibrated(run_, b.id) for b in plan.benchmarks]
        if not all(found):
            continue
        total = sum(calibrated_seconds(run_, b) or 0.0 for b in plan.benchmarks)
        machines = ", ".join(dict.fromkeys(f"{f['hardware']}, {f['date'][:10]}" for f in found if f))
        title = f"{run_.row.title}, {run_.tower.title}, seed {run_.seed}"
        print(f"Evaluating {title} on {len(found)} benchmarks: {common.duration(total)} (calibrated on {machines})")
