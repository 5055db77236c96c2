"""``repro train METHOD``: one training by a profile's recipe, shared with the tables that use the same run."""

from __future__ import annotations

import argparse
import ast
import dataclasses
from pathlib import Path
from typing import Any

from repro import ranks
from repro.cli import backbone, common, launching
from repro.errors import UsageError, command, unknown_name
from repro.experiments.assets import Assets
from repro.experiments.imported import imported_run
from repro.experiments.plan import Plan, Run
from repro.experiments.profiles import Profile
from repro.experiments.tables import Row, Table
from repro.mends import same_folders
from repro.methods import get_method


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of ``train``."""
    add_run_options(parser)
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="folder of the real data sets")
    parser.add_argument("--iterations", type=common.positive, metavar="N", help="train for N instead (a trial)")
    common.add_device_option(parser)
    launching.add_amp_option(parser)
    launching.add_options(parser, ("torchrun", "slurm"))
    common.add_json_option(parser)
    parser.set_defaults(execute=train)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """What names one run: method, tower, options, seed, profile."""
    parser.add_argument("method", help="a method of repro list")
    add_variant_options(parser)


def add_variant_options(parser: argparse.ArgumentParser) -> None:
    """What names one run, but for its method."""
    common.add_store_options(parser)
    parser.add_argument("--profile", default="mini", help="smoke, mini (default), paper, or a .py file")
    parser.add_argument("--tower", default="base", help="tower of the profile (default: base)")
    backbone.add_options(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "-o", "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the method, repeatable"
    )


def single_run(options: argparse.Namespace, profile: Profile, assets: Assets, weights: str | None = None) -> Run:
    """The run the options name; the same address as in a table where the options are the same.

    An imported checkpoint as ``weights`` brings its own tower and options, and is a run of its own.
    """
    entry = get_method(options.method)
    if weights is not None:
        imported = imported_run(Path(weights), entry.name, parse_options(options.option), assets)
        if imported is not None:
            if backbone.is_swapped(options):
                raise UsageError(
                    f"{weights} brings its own backbone",
                    expected="no --backbone and no --dense-residual",
                    found="one of them",
                )
            return imported
    if options.tower not in profile.towers:
        raise unknown_name(
            f"tower of profile {profile.name}",
            options.tower,
            profile.towers,
            mend=command("repro", "describe", profile.name),
        )
    row = Row(f"{entry.name}-{options.tower}", entry.title, entry.name, options.tower, parse_options(options.option))
    return Run(row, profile, profile.towers[options.tower], entry, options.seed, assets)


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """``key=value`` pairs; values are Python literals where they parse as such, else strings."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise UsageError("an option must be KEY=VALUE", found=pair, mend="-o name=value")
        try:
            parsed[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            parsed[key] = text
    return parsed


def command_for(verb: str, run: Run, options: argparse.Namespace) -> str:
    """``repro VERB`` for the run that ``options`` named; DIR where no data root was."""
    defaults = {"tower": "base", "seed": 0, "backbone": None, "dense_residual": None}
    words: list[object] = ["--profile", options.profile]
    for name, usual in defaults.items():
        if (value := getattr(options, name)) != usual:
            words += [f"--{name.replace('_', '-')}", value]
    words += [word for pair in options.option for word in ("-o", pair)]
    root = None if run.profile.synthetic else getattr(options, "data_root", None) or "DIR"
    return command("repro", verb, run.entry.name, *words, *same_folders(options.runs, root))


def single_plan(run: Run) -> Plan:
    """A plan of one row, for what works on plans."""
    table = Table("single", run.row.title, run.row.title, (), "miou_gt", (run.row,))
    return Plan(table, run.profile, run.assets, (run,), ())


def train(options: argparse.Namespace) -> int:
    """Train (or resume, or recognise as finished) and print where the weights are."""
    profile = backbone.chosen_profile(options)
    changed = dataclasses.replace(profile.train, **launching.overrides(options))
    profile = dataclasses.replace(profile, train=changed)
    run = single_run(options, profile, Assets(profile, options.runs, options.data_root))
    if run.train is None:
        raise UsageError(
            f"{run.entry.name} is not trained: it is evaluated from its CLIP weights alone",
            mend=command_for("eval", run, options),
        )
    how, placement = launching.chosen(options), launching.placement(options)
    weights = run.assets.store.weights(run.id)
    if not weights.is_file():
        if how is not None:
            return launching.start(options, how, options.runs, run.id)
        from repro.experiments.execute import ensure_trained, joined

        plan = single_plan(run)
        with common.stdout_to_stderr(), joined(plan, common.choose_device(options.device), common.log) as device:
            run.assets.ensure_data(common.log)
            ensure_trained(plan, run, device, common.log, placement)
    if not ranks.is_first():
        return 0
    if options.json:
        common.print_json({"run": run.id, "weights": str(weights), "facts": run.facts})
    else:
        print(weights)
    return 0
