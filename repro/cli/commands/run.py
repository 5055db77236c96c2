"""``repro run TABLE``; its options are also those of ``repro report``."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any, get_args

from repro import ranks
from repro.api.tables import compute_table, open_table
from repro.cli import common, launching
from repro.cli.commands import backbone
from repro.configuration.published import PublishedRows
from repro.console import duration, log
from repro.errors import UsageError, command
from repro.files import make_folder
from repro.requests import TableRequest
from repro.tables.kind import TableResult, missing_lines


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare the options of ``run`` and ``report``."""
    parser.add_argument(
        "table", help="table1, table2, .. (repro list names all), or a .py file" + (", or all" * (command == "report"))
    )
    common.declare(parser, *common.PLAN, "dataset", *common.CAPTIONS, "set")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where tables go (default: ./results/<profile>)")
    common.declare(parser, "json")
    parser.add_argument("--intervals", action="store_true", help="print 95 %% intervals beside the numbers")
    parser.add_argument("--formats", type=common.report_formats, default=["csv", "latex", "md"], help="csv,latex,md")
    common.declare(parser, "measures")
    parser.add_argument(
        "--published",
        choices=get_args(PublishedRows),
        help="rows of papers: all of the table, ours (with a measured row) or none (default: all in LaTeX, else ours)",
    )
    parser.add_argument(
        "--keep-implausible", action="store_true", help="average numbers that are no better than chance, too"
    )
    parser.add_argument(
        "--also",
        type=common.names,
        default=[],
        metavar="RUN,..",
        help="predictions of other code (repro score) as rows: run ids, or what those of one name begin with",
    )
    backbone.add_options(parser, tower=True)
    if command == "report":
        return
    common.declare(parser, "device")
    launching.add_amp_option(parser)
    launching.add_options(parser, ("local", "torchrun", "slurm"))
    parser.add_argument("--only", metavar="RUN", help="this run of the table only (its id); writes no files")
    parser.add_argument("--dry-run", action="store_true", help="show what is done, missing and expected")
    parser.add_argument(
        "--calibrate", action="store_true", help="with --dry-run: time some images of each benchmark first (minutes)"
    )
    common.declare(parser, "iterations")
    group = parser.add_argument_group("cost tables (table2)")
    group.add_argument("--no-timing", action="store_true", help="count parameters and GFLOPs only; nothing is measured")
    group.add_argument(
        "--repeat", type=int, metavar="N", help="measured runs per row (default: 50 on a GPU, 10 on a CPU)"
    )
    parser.epilog = (
        "Finished cells are never recomputed; after an interruption the same command continues. Without options\n"
        "results go to ./runs and ./results/<profile>/."
    )
    parser.set_defaults(execute=run)


def table_request(options: argparse.Namespace, **more: object) -> TableRequest:
    """Make the request of the table that the options name."""
    common.train_on_captions(options)
    given = {"training": launching.overrides(options), "measures": common.chosen_measures(options), **more}
    return common.request(TableRequest, options, benchmarks=common.chosen_benchmarks(options), **given)


def write_files(result: TableResult[Any]) -> None:
    """Write the table in the formats asked for; a part of one (``--only``) is not written."""
    if result.request.only or not ranks.is_first():
        return
    for path in result.write(result.request.folder):
        log(f"wrote {path}")


def run(options: argparse.Namespace) -> int:
    """Make a table; exit code 1 where a cell failed, 3 where cells wait for data or weights."""
    started = time.monotonic()
    request = table_request(options, placement=launching.placement(options), timing=not options.no_timing)
    if options.calibrate and not options.dry_run:
        raise UsageError("--calibrate serves the estimate of --dry-run", mend="add --dry-run, or leave it out")
    result = open_table(request)
    kind, plan = result.kind, result.plan
    how = launching.chosen(options)
    if (how is not None or options.max_parallel) and not kind.evaluates:
        raise UsageError(
            f"{plan.table.name} is made in one process",
            expected="neither --launcher nor --max-parallel",
            found=command("--launcher", how.launcher) if how else command("--max-parallel", str(options.max_parallel)),
            mend="leave it out",
        )
    if options.dry_run:
        if options.calibrate:
            kind.calibrate(plan, options.device, log)
        common.answer(options, result.to_json, lambda: print("\n".join(kind.preview(result))))
        return 0
    if not options.only:
        make_folder(request.folder)
    for line in kind.warnings(result.states):
        log(line)
    how = how or launching.side_by_side(options, plan, result.open_runs)
    if result.open and how is not None and options.only:
        return launching.start(options, how, options.runs, plan.runs[0].id)
    try:
        if result.open and how is not None:
            words = (
                launching.torchrun_words(options, how) if how.launcher == "torchrun" else launching.own_words(options)
            )
            log(f"{plan.table.title}, profile {plan.profile.name}: {kind.tally(result.states)}; by {how.launcher}")
            with common.stdout_to_stderr():
                result = dataclasses.replace(result, states=kind.launch(plan, words, how, log))
        elif result.open:
            result = compute_table(result, log=log)
    except KeyboardInterrupt:
        write_files(dataclasses.replace(result, states=kind.states(plan, request)))
        raise
    write_files(result)
    if not ranks.is_first():
        return 0
    for state in result.failed:
        log(f"failed: {kind.label(state)}: {state.error}")
    for line in missing_lines(result.states):
        log(line)
    common.answer(options, result.to_json, lambda: print(result.text))
    log(f"{kind.tally(result.states)} after {duration(time.monotonic() - started)}")
    return result.exit_code
