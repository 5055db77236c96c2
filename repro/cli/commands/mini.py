"""``repro mini towers | premises``: the miniature's own CLIP towers, and what papers take for granted of CLIP."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.api.miniature import MadeTower, made_towers, premises, train_tower
from repro.cli import common
from repro.errors import UsageError, command
from repro.measuring.premises import Premises


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of the subcommands."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    towers = commands.add_parser(
        "towers",
        help="list the towers a profile makes by a recipe and what is shipped; train one again",
        description="List the towers that a profile makes by a recipe; --train makes them as they are shipped.",
    )
    towers.add_argument(
        "--train", type=common.names, metavar="T,..", help="train these by their recipes (half an hour each)"
    )
    towers.add_argument("--out", type=Path, metavar="DIR", help="with --train: folder of the packed towers")
    towers.set_defaults(execute=_towers)
    measured = commands.add_parser("premises", help="measure what papers take for granted of CLIP (two minutes)")
    common.declare(measured, "device")
    measured.set_defaults(execute=_premises)
    for sub in (towers, measured):
        common.declare(sub, "runs", "profile", profile="mini (default), smoke, or a .py file that draws its world")
        common.declare(sub, "json")


def _towers(options: argparse.Namespace) -> int:
    if options.train:
        if options.out is None:
            words = ("--train", ",".join(options.train), "--out", "towers", "--profile", options.profile)
            raise UsageError("--train needs a folder for the towers", mend=command("repro", "mini", "towers", *words))
        with common.stdout_to_stderr():
            packed = [train_tower(name, options.out, options.profile, options.runs) for name in options.train]
        print(*(tower.path for tower in packed), sep="\n")
        return 0
    found = made_towers(options.profile, options.runs)
    common.answer(options, lambda: [tower.to_json() for tower in found], lambda: _print_towers(found))
    return 0


def _print_towers(towers: list[MadeTower]) -> None:
    width = max((len(tower.key) for tower in towers), default=0)
    for tower in towers:
        state = "trained when it is first needed"
        if (shipped := tower.shipped) is not None:
            state = f"shipped, {shipped.path.stat().st_size / 2**20:.1f} MiB, content {shipped.content}"
        print(f"{tower.key:<{width}}  {state:<41}  {tower.title}")


def _premises(options: argparse.Namespace) -> int:
    """Return exit code 0 where all premises hold, 1 where one does not."""
    with common.stdout_to_stderr():
        found = premises(options.profile, options.runs, common.choose_device(options.device), common.log)
    common.answer(options, found.to_json, lambda: _print_premises(found))
    return 0 if all(row.holds for row in found.rows) else 1


def _print_premises(found: Premises) -> None:
    print(f"student: {found.student}; teacher: {found.teacher}")
    width = max(len(row.what) for row in found.rows)
    for row in found.rows:
        asked = "" if row.least is None else f"at least {row.least:5.1f}  {'holds' if row.holds else 'FAILS'}"
        print(f"{row.what:<{width}}  {row.value:6.1f}  {asked}".rstrip())
