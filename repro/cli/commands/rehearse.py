"""``repro rehearse TABLE``: a few real steps and images of every row, before the table is made."""

from __future__ import annotations

import argparse

from repro.cli import common, launching


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``rehearse``."""
    parser.add_argument("table", help="table1, table3, .. (a table of benchmarks), or a .py file")
    common.declare(parser, *common.PLAN)
    parser.add_argument(
        "--steps", type=common.positive, default=3, metavar="N", help="measured steps per training (default: 3)"
    )
    parser.add_argument(
        "--images", type=common.positive, default=2, metavar="N", help="measured images per benchmark (default: 2)"
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="stop a row after so many minutes")
    parser.add_argument(
        "--accumulate",
        type=int,
        default=0,
        metavar="N",
        help="process the batch in N parts (default: as few as the memory has room for)",
    )
    parser.add_argument(
        "--checkpoint-activations", action="store_true", help="recompute activations in the backward pass"
    )
    launching.add_amp_option(parser)
    parser.add_argument(
        "--memory", dest="memory_gib", type=float, metavar="GIB", help="memory a row may take (default: what is free)"
    )
    common.declare(parser, "device", "json")
    parser.epilog = (
        "Nothing is trained and no run is made: only the figures are kept, and repro run TABLE --dry-run uses them.\n"
        "Weights that are not here are random, images that are not here are drawn; both are said.\n\n"
        "examples:\n"
        "  repro rehearse table1 --profile paper --data-root DATA\n"
        "  repro rehearse table1 --profile paper --methods catseg --steps 1 --images 1 --minutes 20 --device cpu\n\n"
        "exit codes: 0 nothing would fail; 1 a row failed or was stopped; 3 something is missing"
    )
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Rehearse and print."""
    from repro.rehearsal.request import RehearsalRequest
    from repro.rehearsal.running import rehearse

    request = common.request(RehearsalRequest, options, training=launching.overrides(options))
    with common.stdout_to_stderr():
        found = rehearse(request)
        text = "" if options.json else found.text
    common.answer(options, found.to_json, lambda: print(text))
    return found.exit_code
