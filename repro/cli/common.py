"""What several commands share: options, logging to stderr, JSON to stdout, the choice of a device."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro import ranks
from repro.errors import ResourceError, UsageError
from repro.paths import DEFAULT_RESULTS, DEFAULT_RUNS


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Where output goes; everything the harness writes lies below these folders."""
    parser.add_argument("--runs", type=Path, default=DEFAULT_RUNS, metavar="DIR", help="run store (default: ./runs)")


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Profile, data and the selection of methods, benchmarks and seeds."""
    add_store_options(parser)
    parser.add_argument("--profile", default="mini", help="smoke, mini (default), paper, or a .py file")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the real data sets (paper profile)")
    parser.add_argument("--methods", type=names, metavar="M,..", help="only these methods")
    parser.add_argument("--benchmarks", type=names, metavar="B,..", help="only these benchmarks")
    parser.add_argument("--seeds", type=integers, metavar="S,..", help="seeds to train with")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (default: a GPU if there is one), cpu, cuda, cuda:N")


def add_measures_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--measures",
        type=names,
        metavar="M,..",
        help="more figures: boundary, bias, size, seen (docs/statistics.md)",
    )


def chosen_measures(options: argparse.Namespace) -> tuple[str, ...]:
    """The measures named with ``--measures``; UsageError for one that does not exist."""
    if not getattr(options, "measures", None):
        return ()
    from repro.metrics.measured import check_measures

    return check_measures(options.measures)


def measures_to_count(options: argparse.Namespace) -> tuple[str, ...]:
    """Those of :func:`chosen_measures` that need a pass over the images."""
    if not chosen_measures(options):
        return ()
    from repro.metrics.measured import counted_measures

    return counted_measures(options.measures)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout instead of text")


def names(text: str) -> list[str]:
    """``a,b c`` as a list of names."""
    words = text.replace(",", " ").split()
    if not words:
        raise argparse.ArgumentTypeError("expected at least one name")
    return words


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def report_formats(text: str) -> list[str]:
    """The formats of a table, as names; ArgumentTypeError for an unknown one."""
    from repro.reports.sheet import FORMATS

    chosen = names(text)
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"expected {', '.join(FORMATS)}, found {unknown[0]!r}")
    return chosen


def integers(text: str) -> list[int]:
    """``0,1,2`` as integers."""
    try:
        return [int(word) for word in names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,1,2, found {text!r}") from error


def choose_device(name: str) -> str:
    """``cpu`` or ``cuda[:n]``; ResourceError where a GPU is asked for and there is none."""
    if name == "cpu":
        return "cpu"
    if name != "auto" and not name.startswith("cuda"):
        raise UsageError(f"unknown device {name!r}", expected="auto, cpu, cuda or cuda:N", mend="repro doctor")
    import torch

    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    number = name.partition(":")[2] or "0"
    if name.partition(":")[0] != "cuda" or not number.isdecimal():
        raise UsageError(f"unknown device {name!r}", expected="auto, cpu, cuda or cuda:N", mend="repro doctor")
    index = int(number)
    if not available or index >= torch.cuda.device_count():
        raise ResourceError(
            f"no such GPU: {name}",
            expected="a CUDA device that torch can see",
            found=f"{torch.cuda.device_count() if available else 0} CUDA devices",
            mend="repro doctor, or --device cpu",
        )
    return name


def log(message: str) -> None:
    """One line on stderr, with the time of day; of several processes the first one speaks."""
    if ranks.is_first():
        print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON document on stdout; of several processes the first one prints."""
    if ranks.is_first():
        print(json.dumps(value, indent=1))


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Keep libraries' chatter off stdout, where only results and JSON belong."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def results_folder(profile: str, folder: Path | None) -> Path:
    """``./results/<profile>`` unless the user named another folder."""
    return folder or DEFAULT_RESULTS / Path(profile).stem


def duration(seconds: float | None) -> str:
    """``3 h 05 min``, ``4 min 10 s``, ``12 s``; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    s = round(seconds)
    if s >= 3600:
        return f"{s // 3600} h {s % 3600 // 60:02d} min"
    return f"{s // 60} min {s % 60:02d} s" if s >= 60 else f"{s} s"
