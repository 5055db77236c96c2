"""``repro runs list | du | gc | why | adopt``: what the store holds, what it rests on, and removing by rule."""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from pathlib import Path
from typing import Any

from repro.cli import common
from repro.datasets.benchmarks import get_benchmark
from repro.errors import ReproError, command
from repro.locks import in_use
from repro.runs.addresses.adopting import Piece, adopt, pieces, uses
from repro.runs.addresses.stored import find_run, stored_run
from repro.runs.housekeeping import (
    KINDS,
    Rules,
    StoredRun,
    cache_entries,
    remove,
    select,
    size_of,
    stored_runs,
)
from repro.runs.store import RunStore

_MIB = 2**20


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of the subcommands."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text, execute in (
        ("list", "every run with its state, size and age", _list),
        ("du", "disk use by run and kind, and of the cache", _du),
    ):
        sub = commands.add_parser(name, help=text)
        common.add_store_options(sub)
        common.add_json_option(sub)
        sub.set_defaults(execute=execute)

    for name, text, execute in (
        ("why", "what a finished run rests on, whether it is used, and what changed since", _why),
        ("adopt", "use a run although the code that made it differs; tables that do say so", _adopt),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        common.add_store_options(sub)
        sub.add_argument("run", metavar="RUN", help="a run id or its beginning; RUN/BENCHMARK is one cell of it")
        sub.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the real data sets (paper profile)")
        if name == "adopt":
            sub.add_argument("--reason", default="", help="why, for the footnote")
        common.add_json_option(sub)
        sub.set_defaults(execute=execute)

    gc = commands.add_parser(
        "gc",
        help="show, and with --yes remove, checkpoints and caches by rule; never results",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common.add_store_options(gc)
    gc.add_argument("ids", nargs="*", metavar="RUN", help="only these runs (ids or their beginnings)")
    gc.add_argument(
        "--what",
        type=common.names,
        default=["checkpoints", "rests"],
        metavar="K,..",
        help=f"{', '.join(KINDS)} (default: checkpoints,rests)",
    )
    gc.add_argument("--older-than", type=days, default=0.0, metavar="AGE", help="untouched for 12h, 30d, 8w")
    gc.add_argument(
        "--orphaned", action="store_true", help="only what is stale: made by code that computes something else"
    )
    gc.add_argument(
        "--keep-newest", type=common.positive, default=0, metavar="N", help="spare N of each method and tower"
    )
    gc.add_argument(
        "--keep-best", type=common.positive, default=0, metavar="N", help="spare the N of highest mean mIoU"
    )
    gc.add_argument("--yes", action="store_true", help="remove; without it nothing is touched")
    common.add_json_option(gc)
    gc.set_defaults(execute=_gc)
    gc.epilog = (
        "Rules narrow each other. Checkpoints of unfinished trainings go only with --orphaned or when named. Runs in\n"
        "use are left alone. Finished cells stay finished without their weights; new evaluations train again.\n"
        "Damaged files go with the evaluation they belong to, which is then made again.\n"
        "  repro runs gc --what weights,cache --orphaned\n"
        "  repro runs gc --what weights --keep-best 1 --older-than 30d --yes"
    )


def days(text: str) -> float:
    """``12h``, ``30d``, ``8w`` in days."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"expected an age such as 12h, 30d or 8w, found {text!r}")
    return float(match[1]) * {"h": 1 / 24, "d": 1.0, "w": 7.0}[match[2]]


def _list(options: argparse.Namespace) -> int:
    rows = [_row(run) for run in stored_runs(RunStore(options.runs))]
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
            f"{row['bytes'] / _MIB:>9.1f}  {common.duration(row['age_seconds'])}"
        )
    return 0


def _row(run: StoredRun) -> dict[str, Any]:
    try:
        scores = run.scores
    except ReproError:
        scores = {}
    state = "in use" if in_use(run.folder) else "finished" if run.finished else "unfinished"
    return {
        "run": run.id,
        "state": state,
        "code": run.code.state,
        "reason": run.code.reason,
        "evaluations": len(scores),
        "miou_gt": sum(scores.values()) / len(scores) if scores else None,
        "bytes": sum(run.sizes().values()),
        "age_seconds": max(0.0, time.time() - run.changed),
    }


def _why(options: argparse.Namespace) -> int:
    """Exit code 0 where the code of now may use all of it, 1 where something is stale or unknown."""
    name, _, benchmark = options.run.partition("/")
    run_id = find_run(RunStore(options.runs), name)
    run = stored_run(run_id, options.runs, options.data_root)
    found = [p for p in pieces(run_id, options.runs, options.data_root) if not benchmark or _concerns(p, benchmark)]
    served, others = uses(run, run_id)
    if options.json:
        rests = [{"what": p.what, "folder": str(p.folder), **dataclasses.asdict(p.verdict)} for p in found]
        common.print_json(
            {"run": run_id, "asked": run.facts, "rests on": rests, "used by": served, "not used by": others}
        )
    else:
        print(f"{run_id}: {run.row.title} on {run.tower.title}, profile {run.profile.name}, seed {run.seed}")
        print("\nIt was asked")
        for key, value in run.facts.items():
            print(f"  {key}: {value}")
        print("\nIt rests on")
        for p in found:
            print(f"  {p.what}: {WORDS[p.verdict.state]}  ({p.folder})")
            if p.verdict.reason:
                print(f"      {p.verdict.reason}")
        print("\nTables\n  " + ("\n  ".join(f"used by {line}" for line in served) or "used by no row"))
        for line in others:
            print(f"  not used by {line}")
        if not all(p.verdict.fits for p in found):
            print(f"\nTo use it all the same: {command('repro', 'runs', 'adopt', run_id, '--runs', options.runs)}")
    return 0 if all(p.verdict.fits for p in found) else 1


WORDS = {
    "same": "made by the same code",
    "agrees": "made by code that computes the same",
    "adopted": "taken over by hand",
    "stale": "stale",
    "unknown": "not judged",
}


def _concerns(piece: Piece, benchmark: str) -> bool:
    return not piece.what.startswith("evaluation on ") or piece.what == f"evaluation on {get_benchmark(benchmark).id}"


def _adopt(options: argparse.Namespace) -> int:
    run_id = find_run(RunStore(options.runs), options.run)
    taken = adopt(run_id, options.runs, options.data_root, options.reason, common.log)
    if options.json:
        common.print_json({"run": run_id, "taken": taken})
    else:
        print(f"{run_id}: " + (f"took over {', '.join(taken)}" if taken else "nothing to take over, all of it is used"))
    return 0


def _du(options: argparse.Namespace) -> int:
    store = RunStore(options.runs)
    runs = {run.id: run.sizes() for run in stored_runs(store)}
    cache = {str(path.relative_to(store.root)): size_of(path) for path in cache_entries(store)}
    total = sum(sum(sizes.values()) for sizes in runs.values()) + sum(cache.values())
    if options.json:
        common.print_json({"runs": runs, "cache": cache, "bytes": total})
        return 0
    kinds = ("weights", "checkpoints", "rests", "results")
    width = max(map(len, [*runs, *cache, "total"]))
    print(f"{'MiB':<{width}}" + "".join(f"{kind:>13}" for kind in kinds) + f"{'all':>11}")
    for name, sizes in runs.items():
        values = "".join(f"{sizes[kind] / _MIB:>13.1f}" for kind in kinds)
        print(f"{name:<{width}}{values}{sum(sizes.values()) / _MIB:>11.1f}")
    for name, size in cache.items():
        print(f"{name:<{width}}{'':>52}{size / _MIB:>11.1f}")
    print(f"{'total':<{width}}{'':>52}{total / _MIB:>11.1f}")
    return 0


def _gc(options: argparse.Namespace) -> int:
    """Exit code 1 where something could not be removed because it was in use by then."""
    rules = Rules(
        kinds=tuple(options.what),
        older_days=options.older_than,
        orphaned=options.orphaned,
        keep_newest=options.keep_newest,
        keep_best=options.keep_best,
        runs=tuple(options.ids),
    )
    root: Path = options.runs
    chosen = select(RunStore(root), rules)
    outcomes = list(remove(chosen)) if options.yes else [(removal, "") for removal in chosen]
    rows = [
        {"path": str(r.path), "kind": r.kind, "bytes": r.bytes, "removed": options.yes and not why, "why": why}
        for r, why in outcomes
    ]
    freed = sum(r.bytes for r, why in outcomes if not why)
    if options.json:
        common.print_json({"removed": options.yes, "bytes": freed, "files": rows})
    else:
        for r, why in outcomes:
            print(f"{r.kind:<12}{r.bytes / _MIB:>10.1f} MiB  {r.path}  {why}".rstrip())
        verb = "removed" if options.yes else "would be removed; nothing was touched, --yes removes"
        print(f"{freed / _MIB:.1f} MiB in {len(rows)} entries {verb}")
    return 1 if any(why for _, why in outcomes) else 0
