"""``repro predict``: label maps, overlays and scores of the user's own images, by the code evaluations use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from repro.api.class_lists import class_names
from repro.cli import common
from repro.cli.commands.train import add_variant_options, run_request
from repro.requests import UNTRAINED, PredictRequest


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``predict``."""
    parser.add_argument("--method", required=True, metavar="M", help="a method of repro list")
    parser.add_argument(
        "--image", nargs="+", action="extend", required=True, metavar="I", help="files, folders, quoted patterns"
    )
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument("--classes", metavar="A,B,..", help="class names, or @FILE: one name per line, .json or .csv")
    classes.add_argument("--benchmark-vocab", metavar="ID", help="the classes of a benchmark, e.g. A-150")
    classes.add_argument(
        "--dataset",
        type=common.own_set,
        metavar="FILE",
        help="the classes of a data set of your own (docs/own-data.md)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the outputs")
    parser.add_argument(
        "--checkpoint", metavar="FILE", help=f"weights of this method, as repro eval takes them; '{UNTRAINED}' for none"
    )
    parser.add_argument("--save-probs", action="store_true", help="also write the scores (classes, H, W) as npz")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there")
    add_variant_options(parser)
    common.declare(parser, "device", "json")
    parser.epilog = (
        'example:\n  repro predict --method catseg --checkpoint weights.pth --image photo.jpg --classes "cat,dog,sky" '
        "--out out\n\n"
        "Give the profile, tower and options the weights were trained with; an official checkpoint brings its own. "
        "Outputs of an image photo.jpg:\n"
        "photo_label.png, photo_overlay.png, photo.json and, with --save-probs, photo_probabilities.npz."
    )
    parser.set_defaults(execute=predict)


def predict(options: argparse.Namespace) -> int:
    """Predict every image that is not finished; exit code 1 where some images failed and others did not."""
    from repro.api.prediction import predict_files

    found = predict_files(
        common.request(
            PredictRequest,
            options,
            run=run_request(options),
            images=options.image,
            classes=None if options.classes is None else class_names(options.classes),
            benchmark=options.benchmark_vocab or options.dataset,
            weights=options.checkpoint,
        )
    )
    common.answer(options, lambda: found, lambda: _print(found))
    return 1 if any(record["status"] == "failed" for record in found["images"]) else 0


def _print(facts: dict[str, Any]) -> None:
    print(f"{facts['title']}, profile {facts['profile']}, weights: {facts['weights']}")
    for record in facts["images"]:
        if record["status"] == "failed":
            print(f"{record['image']}: failed: {record['error'].splitlines()[0]}")
            continue
        largest = sorted((c for c in record["classes"] if c["pixels"]), key=lambda c: -c["pixels"])
        shares = ", ".join(f"{c['name']} {100 * c['share']:.1f} %" for c in largest[:5])
        print(f"{record['image']}: {shares}{', ..' if len(largest) > 5 else ''}  -> {record['overlay']}")
    for note in facts["notes"]:
        print(f"Note: {note}.")
