"""``repro score FOLDER``: predictions of other code on a benchmark, as figures and as a run of the store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from repro.cli import common
from repro.requests import ScoreRequest


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``score``."""
    parser.add_argument(
        "predictions",
        type=Path,
        metavar="FOLDER",
        help="label pictures or arrays of class indices named like the images, or detectron2's "
        "sem_seg_predictions.json",
    )
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--benchmark", metavar="B", help="whose images they are")
    of.add_argument(
        "--dataset", type=common.own_set, metavar="FILE", help="those of a data set of your own (docs/own-data.md)"
    )
    parser.add_argument("--name", help="what tables call them (default: the folder's name)")
    of_data = {"profile": "whose data: smoke, mini (default), paper, or a .py file"}
    common.declare(parser, "runs", "profile", "data-root", **of_data, data_root="score on the set below DIR")
    parser.add_argument("--split", help="another split than the benchmark's own (e.g. train)")
    parser.add_argument(
        "--first-class",
        type=int,
        choices=(0, 1),
        default=0,
        help="number of the first class (default: 0; 1: mmsegmentation with reduce_zero_label)",
    )
    parser.add_argument(
        "--category-ids",
        type=Path,
        metavar="FILE",
        help="JSON with the number of each class, where they are not 0, 1, ..",
    )
    common.declare(parser, "limit", "measures", "json")
    parser.epilog = (
        "examples:\n"
        '  repro score output/inference --benchmark A-150 --name "SED, official" --profile paper --data-root DATA\n'
        "  repro score predictions/A-150 --benchmark A-150\n\n"
        "255 (65535 in 16 bits) means no class and counts as wrong. Formats: docs/predictions.md."
    )
    parser.set_defaults(execute=score)


def score(options: argparse.Namespace) -> int:
    """Score the predictions and print all aggregate metrics."""
    from repro.api.scoring import score as score_request

    row = score_request(
        common.request(
            ScoreRequest,
            options,
            benchmark=options.benchmark or options.dataset,
            measures=common.chosen_measures(options),
        )
    )
    common.answer(options, lambda: row, lambda: _print(row))
    return 0


def _print(row: dict[str, Any]) -> None:
    metrics = [name for name in row if name != "labels"]
    metrics = metrics[metrics.index("miou_gt") :]
    print(f"{row['name']}: predictions of other code ({row['format']}), percent")
    print(f"{'':<10}{'images':>8}" + "".join(f"{m:>{max(12, len(m) + 2)}}" for m in metrics))
    values = "".join(
        f"{'-' if row[m] is None else format(100 * row[m], '.1f'):>{max(12, len(m) + 2)}}" for m in metrics
    )
    print(f"{row['benchmark']:<10}{row['num_images']:>8}{values}")
    if row["part"]:
        print(f"These figures are no benchmark result: they are of a part of the images ({row['part']}).")
    elif not row["complete"]:
        print("These figures are no benchmark result: not all images of the set are there.")
    print(f"run {row['run']}")
    if row["labels"]:
        print(f"{row['benchmark']}: {row['labels']}.")
