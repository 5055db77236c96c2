"""``repro runs list | du | gc | why | adopt``: what the store holds, what it rests on, and removing by rule."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.api.listing import Explained, explain_run, run_rows
from repro.cli import common
from repro.cli.commands import disk
from repro.errors import command
from repro.runs.addresses.adopting import adopt
from repro.runs.addresses.stored import find_run
from repro.runs.store import RunStore

WORDS = {
    "same": "made by the same code",
    "agrees": "made by code that computes the same",
    "adopted": "taken over by hand",
    "stale": "stale",
    "unknown": "not judged",
}


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of the subcommands."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    why = "what a finished run rests on, whether it is used, and what changed since"
    use = "use a run although the code that made it differs; tables that do say so"
    for name, text, execute in (
        ("list", "every run with its state, size and age", _list),
        ("du", "disk use by run and kind, and of the cache", disk.du),
        ("why", why, _why),
        ("adopt", use, _adopt),
    ):
        named = name in ("why", "adopt")
        sub = commands.add_parser(name, help=text, description=text if named else None)
        common.declare(sub, "runs")
        if named:
            sub.add_argument("run", metavar="RUN", help="a run id or its beginning; RUN/BENCHMARK is one cell of it")
            common.declare(sub, "data-root")
        if name == "adopt":
            sub.add_argument("--reason", default="", help="why, for the footnote")
        common.declare(sub, "json")
        sub.set_defaults(execute=execute)
    disk.add_gc(commands)


def _list(options: argparse.Namespace) -> int:
    rows = run_rows(options.runs)
    if options.json:
        common.print_json(rows)
        return 0
    if not rows:
        print(f"no run in {options.runs}")
        return 0
    width = max(len(row["run"]) for row in rows)
    print(f"{'run':<{width}}  {'state':<11} {'code':<8} {'cells':>5} {'mIoU %':>7} {'MiB':>9}  age")
    for row in rows:
        score = "-" if row["miou_gt"] is None else f"{100 * row['miou_gt']:.1f}"
        print(
            f"{row['run']:<{width}}  {row['state']:<11} {row['code']:<8} {row['evaluations']:>5} {score:>7} "
            f"{row['bytes'] / disk.MIB:>9.1f}  {common.duration(row['age_seconds'])}"
        )
    return 0


def _why(options: argparse.Namespace) -> int:
    """Return exit code 0 where the current code may use all of it, 1 where something is stale or unknown."""
    found = explain_run(options.run, options.runs, options.data_root)
    common.answer(options, found.to_json, lambda: _print_explained(found, options.runs))
    return 0 if found.fits else 1


def _print_explained(found: Explained, store: Path) -> None:
    run = found.run
    print(f"{found.id}: {run.row.title} on {run.tower.title}, profile {run.profile.name}, seed {run.seed}")
    print("\nIt was asked")
    for key, value in run.facts.items():
        print(f"  {key}: {value}")
    print("\nIt rests on")
    for p in found.pieces:
        print(f"  {p.what}: {WORDS[p.verdict.state]}  ({p.folder})")
        if p.verdict.reason:
            print(f"      {p.verdict.reason}")
    print("\nTables\n  " + ("\n  ".join(f"used by {line}" for line in found.used_by) or "used by no row"))
    for line in found.not_used_by:
        print(f"  not used by {line}")
    if not found.fits:
        print(f"\nTo use it all the same: {command('repro', 'runs', 'adopt', found.id, '--runs', store)}")


def _adopt(options: argparse.Namespace) -> int:
    run_id = find_run(RunStore(options.runs), options.run)
    taken = adopt(run_id, options.runs, options.data_root, options.reason, common.log)
    words = f"took over {', '.join(taken)}" if taken else "nothing to take over, all of it is used"
    common.answer(options, lambda: {"run": run_id, "taken": taken}, lambda: print(f"{run_id}: {words}"))
    return 0
