"""``repro eval METHOD``: one method on benchmarks of the profile, or on a folder of real data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from repro import ranks
from repro.cli import common, launching, speed_options
from repro.cli.commands.train import add_run_options, run_request
from repro.requests import UNTRAINED, EvalRequest


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``eval``."""
    add_run_options(parser)
    helps = {"benchmarks": "default: all, or all the folder has", "data_root": "evaluate on the sets below DIR"}
    common.declare(parser, "benchmarks", "dataset", "data-root", *common.CAPTIONS, **helps)
    parser.add_argument("--split", help="another split than the benchmark's own (e.g. train)")
    parser.add_argument(
        "--weights",
        "--checkpoint",
        metavar="FILE",
        help=f"weights of this method; '{UNTRAINED}' for none (default: the run's own). An official checkpoint is "
        "imported when first named, and brings its own tower and options",
    )
    common.declare(parser, "device")
    launching.add_options(parser, ("torchrun", "slurm"))
    speed_options.add(parser, shared=True)
    common.declare(parser, "measures")
    parser.add_argument(
        "--save-predictions",
        type=Path,
        metavar="DIR",
        help="write label pictures below DIR/<benchmark>, which repro score reads",
    )
    common.declare(parser, "limit", "json")
    parser.epilog = (
        "Without --weights the run's own are used; in a profile that draws its own data they are trained first where\n"
        "they are missing. Figures on a handful of images, or of untrained weights, mean nothing and are marked so."
    )
    parser.set_defaults(execute=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate and print all aggregate metrics; exit code 3 where a named benchmark has no data."""
    from repro.api.running import evaluate_run

    common.train_on_captions(options)
    run = run_request(options)
    how, placement = launching.chosen(options), launching.placement(options)
    if how is not None:
        there = run.run(run.own(options.weights), data="real")  # an import is made here, once
        return launching.start(options, how, options.runs, f"eval-{there.id}")
    chosen = {
        "speedups": speed_options.chosen(options),
        "measures": common.chosen_measures(options),
        "benchmarks": common.chosen_benchmarks(options),
    }
    rows = evaluate_run(common.request(EvalRequest, options, run=run, placement=placement, **chosen))
    if not ranks.is_first():
        return 0
    common.answer(options, lambda: rows, lambda: _print(rows))
    return 0


def _print(rows: list[dict[str, Any]]) -> None:
    metrics = tuple(name for name in rows[0] if name != "labels")
    metrics = metrics[metrics.index("miou_gt") :]
    first = rows[0]
    precision = "" if first["precision"] == "float32" else f", {first['precision']}"
    print(f"{first['method']}, profile {first['profile']}, weights: {first['weights']}{precision}; percent")
    print(f"{'':<10}{'images':>8}" + "".join(f"{m:>{max(12, len(m) + 2)}}" for m in metrics))
    for row in rows:
        values = "".join(
            f"{'-' if row[m] is None else format(100 * row[m], '.1f'):>{max(12, len(m) + 2)}}" for m in metrics
        )
        print(f"{row['benchmark']:<10}{row['num_images']:>8}{values}")
    incomplete = any(r["part"] or not r["complete"] for r in rows)
    if first["weights"] == "untrained" or incomplete or first["profile"] != "paper":
        print("These figures are no benchmark result: " + _why(rows) + ".")
    for row in rows:
        if row["labels"]:
            print(f"{row['benchmark']}: {row['labels']}.")


def _why(rows: list[dict[str, Any]]) -> str:
    reasons = []
    if rows[0]["weights"] == "untrained":
        reasons.append("the weights are not trained")
    if rows[0]["profile"] != "paper":
        reasons.append(f"the method is that of profile {rows[0]['profile']}")
    parts = [f"{r['benchmark']} ({r['part']})" for r in rows if r["part"]]
    if parts:
        reasons.append("they are of a part of the images: " + ", ".join(parts))
    partial = [f"{r['benchmark']} ({r['num_images']})" for r in rows if not r["complete"] and not r["part"]]
    if partial:
        reasons.append("not all images of the set are there: " + ", ".join(partial))
    return "; ".join(reasons)
