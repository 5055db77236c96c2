"""``repro list`` and ``repro describe X``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from repro.cli import common
from repro.configuration.profiles import load_profile, profile_names
from repro.configuration.tables import load_table, table_names
from repro.datasets.benchmarks import TRAIN_SETS
from repro.errors import command, unknown_name
from repro.mends import same_folders
from repro.methods import registry
from repro.reports.tables.run_description import describe_run, summaries
from repro.runs.addresses.stored import matching_run, run_names
from repro.runs.assets import all_sets
from repro.runs.plan import make_plan
from repro.runs.store import RunStore
from repro.tables.kind import kind_of


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Options of ``list`` and ``describe``."""
    common.add_store_options(parser)
    common.add_json_option(parser)
    if command == "list":
        parser.set_defaults(execute=list_all)
        return
    parser.add_argument("name", help="a table, method, benchmark, profile or run id (a unique prefix will do)")
    parser.add_argument("--profile", default="mini", help="whose cells of a table are counted (default: mini)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="data of a profile with real data")
    parser.set_defaults(execute=describe)


def catalogue() -> dict[str, dict[str, str]]:
    """Everything that can be named, by kind: id -> one line."""
    return {
        "tables": {n: load_table(n).caption for n in table_names()},
        "methods": {n: f"{e.title}: {e.paper}" for n, e in registry().items()},
        "benchmarks": {n: f"{b.title}, {b.num_classes} classes" for n, b in all_sets().items() if n not in TRAIN_SETS},
        "training sets": {n: f"{b.title}, {b.num_classes} classes" for n, b in TRAIN_SETS.items()},
        "profiles": {n: load_profile(n).title for n in profile_names()},
    }


def list_all(options: argparse.Namespace) -> int:
    """Print the catalogue."""
    known = catalogue()
    runs = dict(summaries(RunStore(options.runs)))
    if options.json:
        common.print_json({**known, "runs": list(runs), "run states": runs})
        return 0
    for kind, entries in known.items():
        print(kind)
        for name, text in entries.items():
            print(f"  {name:<12} {text}")
    print(f"runs in {options.runs}\n  " + ("\n  ".join(f"{name}  {state}" for name, state in runs.items()) or "none"))
    return 0


def describe(options: argparse.Namespace) -> int:
    """Print everything known about one name."""
    facts = _facts(options.name, RunStore(options.runs), options)
    if options.json:
        common.print_json(facts)
        return 0
    _print(facts)
    return 0


def _facts(name: str, store: RunStore, options: argparse.Namespace) -> dict[str, Any]:
    folded = {b.casefold(): b for b in all_sets()}
    if name in table_names() or name.endswith(".py"):
        return {**dataclasses.asdict(load_table(name)), "done": _done(name, options)}
    if name in registry():
        entry = registry()[name]
        return {
            "method": name,
            "title": entry.title,
            "paper": entry.paper,
            "trainable": entry.trainable,
            "options (default: the paper's)": dataclasses.asdict(entry.make_options()),
            f"runs in {store.root}": dict(summaries(store, method=name)),
        }
    if name.casefold() in folded:
        benchmark = all_sets()[folded[name.casefold()]]
        runs = dict(summaries(store, benchmark=benchmark.id))
        return {**dataclasses.asdict(benchmark), "classes": list(benchmark.class_names()), "evaluated runs": runs}
    if name in profile_names():
        return dataclasses.asdict(load_profile(name))
    known_runs = run_names(store)
    if (run := matching_run(name, known_runs, store.root)) is not None:
        return describe_run(store, run)
    known = [*table_names(), *registry(), *all_sets(), *profile_names(), *known_runs]
    mend = command("repro", "list", *same_folders(store.root))
    raise unknown_name("table, method, benchmark, profile or run", name, known, mend=mend)


def _done(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What is done of a table in the profile asked for: as its kind says it."""
    table, profile = load_table(name), load_profile(options.profile)
    if not any(r.tower in profile.towers for r in table.rows):
        return {"profile": profile.name, "state": "no row in this profile"}
    plan = make_plan(table, profile, options.runs, data_root=options.data_root)
    return {"profile": profile.name, **kind_of(table).progress(plan)}


def _print(value: Any, indent: int = 0) -> None:
    for key, item in value.items():
        if isinstance(item, dict):
            print(f"{'  ' * indent}{key}:")
            _print(item, indent + 1)
        elif isinstance(item, list | tuple) and item and isinstance(item[0], dict):
            for element in item:
                print(f"{'  ' * indent}{key}:")
                _print(element, indent + 1)
        else:
            shown = ", ".join(map(str, item)) if isinstance(item, list | tuple) else item
            print(f"{'  ' * indent}{key}: {shown}")
