"""``repro figures``: pictures of what trained runs find salient, predict and correlate, image by image."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import common


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``figures``."""
    parser.add_argument(
        "kind", nargs="?", choices=("maps", "qualitative", "threshold"), default="maps",
        help="maps (default): what each run sees; qualitative: runs side by side on images chosen by their counts; "
        "threshold: mIoU over the background threshold",
    )  # fmt: skip
    common.declare(parser, "runs")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--run", metavar="ID,..", type=common.names, help="runs of the store (repro list names them); A against B"
    )
    which.add_argument("--table", help="every trained run of a table, e.g. table1")
    which.add_argument(
        "--backbone", metavar="TOWER,..", type=common.names,
        help="dense maps of CLIP towers: keys of the profile's, or SOURCE:WHAT (docs/backbones.md)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the PNG files go")
    of_table = {"profile": "profile of --table and --backbone: smoke, mini (default), paper, or a .py file"}
    common.declare(parser, "profile", "methods", "data-root", **of_table, methods="of --table, only these methods")
    parser.add_argument("--benchmark", default="PC-59", help="whose images and classes (default: PC-59)")
    parser.add_argument("--images", type=common.names, metavar="KEY,..", help="file names without ending")
    parser.add_argument(
        "--image", type=Path, nargs="+", metavar="FILE",
        help="pictures of your own in place of the benchmark's; classes: the benchmark's, and those of --classes",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=4, help="how many images where none is named (default: 4)")
    parser.add_argument(
        "--classes",
        type=class_names,
        metavar="NAME;..",
        help="class names, separated by semicolons (default: the largest of each image)",
    )
    parser.add_argument("--rows", type=int, default=3, help="how many classes where none is named (default: 3)")
    parser.add_argument(
        "--thresholds", type=common.numbers, metavar="T,..", help="of the kind threshold (default: 0.1,0.2, .. 0.9)"
    )
    common.declare(parser, "device", "json")
    parser.epilog = (
        "For every image and run: image, attention, saliency, foreground, prediction, ground truth (what the method\n"
        "offers), and for every image the correlation maps of all runs side by side. Nothing is trained for it.\n\n"
        'repro figures --run RUN --image photo.jpg --classes "dog; sky" --out DIR: a picture of your own.\n\n'
        "repro figures qualitative --run A,B[,..] --benchmark PC-59 --count 4 --out DIR: image, ground truth and runs\n"
        "side by side: the largest wins and losses of A against B, and where both fail, by mIoU of the single images.\n"
        "A and B: run ids, unique prefixes of them, or table:row of --profile.\n\n"
        "repro figures threshold --run ID --benchmark PAS-20b --out DIR: mIoU at every threshold, from one forward\n"
        "pass for all; a PDF, a PNG and a CSV.\n\n"
        "repro figures --backbone base,powerful --benchmark PC-59 --out DIR: of each tower, the class nearest to each\n"
        "place of its dense map, and the similarity of the places with the names of classes; --image works too."
    )
    parser.set_defaults(execute=figures)


def class_names(text: str) -> list[str] | None:
    """Read ``cat; dining table`` as a list of names; none for an empty text."""
    return [name.strip() for name in text.split(";")] if text else None


def figures(options: argparse.Namespace) -> int:
    """Draw the figures and print where they are."""
    from repro.reports.figures.draw import FiguresRequest, draw_figures

    written = draw_figures(common.request(FiguresRequest, options))
    names = [str(path) for path in written]
    common.answer(options, lambda: names, lambda: print("\n".join(names)))
    return 0
