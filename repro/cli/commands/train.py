"""``repro train METHOD``: one training by a profile's recipe, shared with the tables that use the same run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from repro import ranks
from repro.api.running import train_run, trainable_run
from repro.cli import common, launching
from repro.cli.commands import backbone
from repro.configuration.changes import TRAIN_SET
from repro.errors import UsageError
from repro.methods.options import parse_options
from repro.requests import RunRequest, TrainRequest


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``train``."""
    add_run_options(parser)
    common.declare(parser, "data-root")
    parser.add_argument(
        "--dataset",
        type=common.own_set,
        metavar="FILE",
        help="train on a data set of your own: a TOML file with a section [train] (docs/own-data.md)",
    )
    common.declare(parser, *common.CAPTIONS, "iterations", "device")
    launching.add_amp_option(parser)
    launching.add_options(parser, ("torchrun", "slurm"))
    common.declare(parser, "json")
    parser.set_defaults(execute=train)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare what names one run: method, tower, options, seed, profile."""
    parser.add_argument("method", help="a method of repro list")
    add_variant_options(parser)


def add_variant_options(parser: argparse.ArgumentParser) -> None:
    """Declare what names one run, but for its method."""
    common.declare(parser, "runs", "profile", "tower")
    backbone.add_options(parser)
    common.declare(parser, "set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "-o", "--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the method, repeatable"
    )


def run_request(options: argparse.Namespace, training: Mapping[str, Any] | None = None) -> RunRequest:
    """Make the request of the run that the options name, with fields of its schedule replaced."""
    return common.request(RunRequest, options, options=parse_options(options.option), training=training or {})


def train(options: argparse.Namespace) -> int:
    """Train (or resume, or recognise as finished) and print where the weights are."""
    if options.dataset and options.captions:
        raise UsageError("a run has one training set", expected="--dataset or --captions", found="both")
    common.train_on_captions(options)
    if options.dataset:
        options.changes = {**options.changes, TRAIN_SET: options.dataset}
    request = common.request(
        TrainRequest,
        options,
        run=run_request(options, launching.overrides(options)),
        placement=launching.placement(options),
    )
    how = launching.chosen(options)
    run = trainable_run(request)
    weights = run.assets.store.weights(run.id)
    if how is not None and not weights.is_file():
        return launching.start(options, how, options.runs, run.id)
    train_run(request)
    if not ranks.is_first():
        return 0
    document = {"run": run.id, "weights": str(weights), "facts": run.facts}
    common.answer(options, lambda: document, lambda: print(weights))
    return 0
