"""``repro list`` and ``repro describe X``."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from repro.benchmarks.spec import BENCHMARKS, TRAIN_SETS
from repro.cli import common
from repro.errors import unknown_name
from repro.experiments.assets import all_sets
from repro.experiments.profiles import load_profile, profile_names
from repro.experiments.store import RunStore
from repro.experiments.tables import load_table, table_names
from repro.files import read_json
from repro.methods import registry


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Options of ``list`` and ``describe``."""
    common.add_store_options(parser)
    common.add_json_option(parser)
    if command == "list":
        parser.set_defaults(execute=list_all)
        return
    parser.add_argument("name", help="a table, method, benchmark, profile or run id")
    parser.set_defaults(execute=describe)


def catalogue() -> dict[str, dict[str, str]]:
    """Everything that can be named, by kind: id -> one line."""
    return {
        "tables": {n: load_table(n).caption for n in table_names()},
        "methods": {n: f"{e.title}: {e.paper}" for n, e in registry().items()},
        "benchmarks": {n: f"{b.title}, {b.num_classes} classes" for n, b in BENCHMARKS.items()},
        "training sets": {n: f"{b.title}, {b.num_classes} classes" for n, b in TRAIN_SETS.items()},
        "profiles": {n: load_profile(n).title for n in profile_names()},
    }


def run_ids(store: RunStore) -> list[str]:
    """Ids of the runs in the store."""
    return sorted(p.parent.name for p in store.root.glob("*/provenance.json"))


def list_all(options: argparse.Namespace) -> int:
    """Print the catalogue."""
    known = catalogue()
    runs = run_ids(RunStore(options.runs))
    if options.json:
        common.print_json({**known, "runs": runs})
        return 0
    for kind, entries in known.items():
        print(kind)
        for name, text in entries.items():
            print(f"  {name:<12} {text}")
    print(f"runs in {options.runs}\n  " + ("\n  ".join(runs) or "none"))
    return 0


def describe(options: argparse.Namespace) -> int:
    """Print everything known about one name."""
    facts = _facts(options.name, RunStore(options.runs))
    if options.json:
        common.print_json(facts)
        return 0
    _print(facts)
    return 0


def _facts(name: str, store: RunStore) -> dict[str, Any]:
    folded = {b.casefold(): b for b in all_sets()}
    if name in table_names():
        return dataclasses.asdict(load_table(name))
    if name in registry():
        entry = registry()[name]
        return {
            "method": name,
            "title": entry.title,
            "paper": entry.paper,
            "trainable": entry.trainable,
            "options (default: the paper's)": dataclasses.asdict(entry.make_options()),
        }
    if name.casefold() in folded:
        benchmark = all_sets()[folded[name.casefold()]]
        return {**dataclasses.asdict(benchmark), "classes": list(benchmark.class_names())}
    if name in profile_names():
        return dataclasses.asdict(load_profile(name))
    if name in run_ids(store):
        evaluations = sorted(store.run(name).glob("eval/*/metrics.json"))
        return {
            **read_json(store.run(name) / "provenance.json"),
            "trained": store.weights(name).is_file(),
            "evaluations": {p.parent.name: read_json(p).get("miou_gt") for p in evaluations},
        }
    known = [*table_names(), *registry(), *all_sets(), *profile_names(), *run_ids(store)]
    raise unknown_name("table, method, benchmark, profile or run", name, known)


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
