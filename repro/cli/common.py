"""What several commands share: options, JSON to stdout, folders."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from repro import ranks
from repro.console import duration, log, stdout_to_stderr
from repro.hardware import choose_device
from repro.paths import DEFAULT_RUNS

__all__ = ["choose_device", "duration", "log", "stdout_to_stderr"]  # as words of this module


T = TypeVar("T")


def request(kind: type[T], given: argparse.Namespace, /, **more: Any) -> T:
    """Make a request of ``kind`` from the ``given`` options called like its fields, and from ``more``."""
    named = {f.name for f in dataclasses.fields(kind)} & set(vars(given))  # type: ignore[arg-type]
    return kind(**{**{name: getattr(given, name) for name in named}, **more})


class _Changes(argparse.Action):
    """Collects NAME=VALUE words as values by name."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, option: object = None) -> None:
        from repro.methods.options import parse_options

        new = parse_options([values], "--set train.lr=1e-3")
        setattr(namespace, self.dest, {**getattr(namespace, self.dest), **new})


def chosen_measures(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the measures named with ``--measures``; UsageError for one that does not exist."""
    if not getattr(options, "measures", None):
        return ()
    from repro.metrics.measured import check_measures

    return check_measures(options.measures)


def names(text: str) -> list[str]:
    """Read ``a,b c`` as a list of names."""
    words = text.replace(",", " ").split()
    if not words:
        raise argparse.ArgumentTypeError("expected at least one name")
    return words


def positive(text: str) -> int:
    """Read a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def report_formats(text: str) -> list[str]:
    """Read the formats of a table; ArgumentTypeError for an unknown one."""
    from repro.reports.tables.sheet import FORMATS

    chosen = names(text)
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"expected {', '.join(FORMATS)}, found {unknown[0]!r}")
    return chosen


def integers(text: str) -> list[int]:
    """Read ``0,1,2`` as integers."""
    try:
        return [int(word) for word in names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,1,2, found {text!r}") from error


def own_set(text: str) -> str:
    """Make the data set that the file ``text`` describes known to this command and what it starts; return its id."""
    from repro.datasets.registry import add_own_set

    return add_own_set(text)


def chosen_benchmarks(options: argparse.Namespace) -> list[str] | None:
    """Return what ``--benchmarks`` and ``--dataset`` name; None where neither is there."""
    return [*(options.benchmarks or ()), *options.dataset] or None


OPTIONS: dict[str, dict[str, Any]] = {
    "runs": {"type": Path, "default": DEFAULT_RUNS, "metavar": "DIR", "help": "run store (default: ./runs)"},
    "profile": {"default": "mini", "help": "smoke, mini (default), paper, or a .py file"},
    "data-root": {"type": Path, "metavar": "DIR", "help": "folder of the real data sets (paper profile)"},
    "methods": {"type": names, "metavar": "M,..", "help": "only these methods"},
    "benchmarks": {"type": names, "metavar": "B,..", "help": "only these benchmarks"},
    "dataset": {
        "type": own_set,
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "a data set of your own, described by a TOML file (docs/own-data.md; repeatable)",
    },
    "seeds": {"type": integers, "metavar": "S,..", "help": "seeds to train with"},
    "tower": {"default": "base", "help": "tower of the profile (default: base)"},
    "iterations": {"type": positive, "metavar": "N", "help": "train for N instead (a trial)"},
    "set": {
        "action": _Changes,
        "default": {},
        "dest": "changes",
        "metavar": "NAME=VALUE",
        "help": "another value of the profile: train.lr=1e-3, protocol.overlap=0.666 (repeatable; another run)",
    },
    "device": {"default": "auto", "help": "auto (default: a GPU if there is one), cpu, cuda, cuda:N"},
    "measures": {
        "type": names,
        "metavar": "M,..",
        "help": "additional measures: boundary, bias, size, seen (docs/statistics.md)",
    },
    "limit": {"type": positive, "metavar": "N", "help": "only the first N images; the figures are marked as a part's"},
    "json": {"action": "store_true", "help": "print one JSON document on stdout instead of text"},
}
"""Options that several commands have; ``--json`` goes last."""
PLAN = ("runs", "profile", "data-root", "methods", "benchmarks", "seeds")
"""Where a table is made, and what narrows it."""


def declare(parser: argparse.ArgumentParser, *options: str, **helps: str) -> None:
    """Declare some of :data:`OPTIONS`; ``helps`` say what one is for where this command means something else by it."""
    for name in options:
        help_here = helps.get(name.replace("-", "_"), OPTIONS[name]["help"])
        parser.add_argument(f"--{name}", **{**OPTIONS[name], "help": help_here})


def print_json(value: Any) -> None:
    """Print one JSON document on stdout; of several processes the first one prints."""
    if ranks.is_first():
        print(json.dumps(value, indent=1))


def answer(options: argparse.Namespace, document: Callable[[], Any], show: Callable[[], None]) -> None:
    """Print ``document()`` where ``--json`` asks for it, else what ``show`` prints."""
    if options.json:
        print_json(document())
    else:
        show()
