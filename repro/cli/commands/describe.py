"""``repro list`` and ``repro describe X``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from repro.api.describing import DescribeRequest, catalogue, describe_name
from repro.cli import common
from repro.reports.tables.run_description import summaries
from repro.runs.store import RunStore


def configure(parser: argparse.ArgumentParser, command: str) -> None:
    """Declare the options of ``list`` and ``describe``."""
    common.declare(parser, "runs", "json")
    if command == "list":
        parser.set_defaults(execute=list_all)
        return
    parser.add_argument("name", help="a table, method, benchmark, profile or run id (a unique prefix will do)")
    counted = {"profile": "whose cells of a table are counted (default: mini)"}
    common.declare(parser, "profile", "data-root", **counted, data_root="data of a profile with real data")
    parser.set_defaults(execute=describe)


def list_all(options: argparse.Namespace) -> int:
    """Print the catalogue."""
    known = catalogue()
    runs = dict(summaries(RunStore(options.runs)))
    document = {**known, "runs": list(runs), "run states": runs}
    common.answer(options, lambda: document, lambda: _print_catalogue(known, runs, options.runs))
    return 0


def _print_catalogue(known: dict[str, dict[str, str]], runs: dict[str, str], store: Path) -> None:
    for kind, entries in known.items():
        print(kind)
        for name, text in entries.items():
            print(f"  {name:<12} {text}")
    print(f"runs in {store}\n  " + ("\n  ".join(f"{name}  {state}" for name, state in runs.items()) or "none"))


def describe(options: argparse.Namespace) -> int:
    """Print everything known about one name."""
    facts = describe_name(common.request(DescribeRequest, options))
    common.answer(options, lambda: facts, lambda: _print(facts))
    return 0


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
