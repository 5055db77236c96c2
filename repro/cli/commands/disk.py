"""``repro runs du | gc``: disk use, and showing or with ``--yes`` removing checkpoints and caches by rule."""

from __future__ import annotations

import argparse
import re
from typing import Any

from repro.api.listing import clear, disk_use
from repro.cli import common
from repro.runs.housekeeping import KINDS, Rules

MIB = 2**20
EPILOG = """\
Rules narrow each other. Checkpoints of unfinished trainings go only with --orphaned or when named. Runs in
use are left alone. Finished cells stay finished without their weights; new evaluations train again.
Damaged files go with the evaluation they belong to, which is then made again.
  repro runs gc --what weights,cache --orphaned
  repro runs gc --what weights --keep-best 1 --older-than 30d --yes"""


def add_gc(commands: Any) -> None:
    """Declare ``gc`` below ``repro runs``."""
    parser = commands.add_parser(
        "gc",
        help="show, and with --yes remove, checkpoints and caches by rule; never results",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common.declare(parser, "runs")
    parser.add_argument("ids", nargs="*", metavar="RUN", help="only these runs (ids or their beginnings)")
    parser.add_argument(
        "--what", type=common.names, default=["checkpoints", "rests"], metavar="K,..",
        help=f"{', '.join(KINDS)} (default: checkpoints,rests)",
    )  # fmt: skip
    parser.add_argument(
        "--older-than", dest="older_days", type=days, default=0.0, metavar="AGE", help="untouched for 12h, 30d, 8w"
    )
    parser.add_argument(
        "--orphaned", action="store_true", help="only what is stale: made by code that computes something else"
    )
    parser.add_argument(
        "--keep-newest", type=common.positive, default=0, metavar="N", help="spare N of each method and tower"
    )
    parser.add_argument(
        "--keep-best", type=common.positive, default=0, metavar="N", help="spare the N of highest mean mIoU"
    )
    parser.add_argument("--yes", action="store_true", help="remove; without it nothing is touched")
    common.declare(parser, "json")
    parser.set_defaults(execute=gc)


def days(text: str) -> float:
    """Read ``12h``, ``30d``, ``8w`` in days."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"expected an age such as 12h, 30d or 8w, found {text!r}")
    return float(match[1]) * {"h": 1 / 24, "d": 1.0, "w": 7.0}[match[2]]


def gc(options: argparse.Namespace) -> int:
    """Print what goes; exit code 1 where something could not be removed because it was in use by then."""
    rules = common.request(Rules, options, kinds=tuple(options.what), runs=tuple(options.ids))
    found = clear(options.runs, rules, really=options.yes)
    if options.json:
        common.print_json(found.to_json())
    else:
        for r, why in found.outcomes:
            print(f"{r.kind:<12}{r.bytes / MIB:>10.1f} MiB  {r.path}  {why}".rstrip())
        verb = "removed" if options.yes else "would be removed; nothing was touched, --yes removes"
        print(f"{found.bytes / MIB:.1f} MiB in {len(found.outcomes)} entries {verb}")
    return 1 if found.kept else 0


def du(options: argparse.Namespace) -> int:
    """Print disk use by run and kind, and of the cache."""
    used = disk_use(options.runs)
    if options.json:
        common.print_json(used)
        return 0
    kinds = ("weights", "checkpoints", "rests", "results")
    width = max(map(len, [*used["runs"], *used["cache"], "total"]))
    print(f"{'MiB':<{width}}" + "".join(f"{kind:>13}" for kind in kinds) + f"{'all':>11}")
    for name, sizes in used["runs"].items():
        values = "".join(f"{sizes[kind] / MIB:>13.1f}" for kind in kinds)
        print(f"{name:<{width}}{values}{sum(sizes.values()) / MIB:>11.1f}")
    for name, size in [*used["cache"].items(), ("total", used["bytes"])]:
        print(f"{name:<{width}}{'':>52}{size / MIB:>11.1f}")
    return 0
