"""``repro tune METHOD..|TABLE``: the same search of training settings for every method."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.api.trials import open_searches
from repro.api.tuning import preview, run_one, tune
from repro.cli import common, launching
from repro.cli.commands import backbone
from repro.errors import UsageError
from repro.files import make_folder
from repro.launch.job import Launch
from repro.requests import TuneRequest


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``tune``."""
    parser.add_argument(
        "methods", nargs="+", metavar="METHOD|TABLE", help="methods of repro list; a table: all its methods that train"
    )
    common.declare(parser, "runs", "profile", "data-root", "tower", "set")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="where tuning.csv goes (default: ./results/<profile>)"
    )
    parser.add_argument(
        "--trials", type=common.positive, default=8, metavar="N", help="trials of each method (default: 8)"
    )
    parser.add_argument(
        "--scenes", type=common.positive, default=100, metavar="N", help="training scenes held out (default: 100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument(
        "--max-parallel",
        type=common.positive,
        metavar="N",
        help="trials at the same time (default: one per core where the profile's runs are so small, else one)",
    )
    common.declare(parser, "iterations", "device", iterations="length of a whole training (default: the profile's)")
    launching.add_amp_option(parser)
    parser.add_argument("--only", metavar="TRIAL@ITERATIONS", help="this trial of one method only; writes no files")
    parser.add_argument("--dry-run", action="store_true", help="show the trials, their budget and the expected time")
    backbone.add_options(parser)
    common.declare(parser, "json")
    parser.epilog = (
        "Learning rate, weight decay and loss weights, by successive halving on training scenes that are held out; no\n"
        "benchmark is looked at. Finished trials are read; after an interruption the same command continues."
    )
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Search, write tuning.csv, print what was chosen; exit code 1 where a search did not come to its end."""
    request = common.request(TuneRequest, options, training=launching.overrides(options))
    if options.dry_run:
        if options.json:
            raise UsageError("--dry-run prints text", expected="no --json", found="--json")
        print("\n".join(preview(request)))
        return 0
    if options.only:
        record = run_one(request, options.only, log=common.log)
        common.answer(options, lambda: record, lambda: print(record))
        return 0
    make_folder(request.folder)
    trials = request.trials * len(open_searches(request))
    with common.stdout_to_stderr():
        found = tune(request, how=_launch(options, request, trials), log=common.log)
    common.log(f"wrote {found.write(request.folder)}")
    common.answer(options, found.to_json, lambda: print("\n".join([found.sheet().markdown(), *found.lines()])))
    return found.exit_code


def _launch(options: argparse.Namespace, request: TuneRequest, trials: int) -> Launch | None:
    if options.max_parallel is None:
        return launching.one_per_core(request.load(), options.device, trials)
    return launching.at_once(options.max_parallel, options.device, trials)
