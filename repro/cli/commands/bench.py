"""``repro bench``: time and memory of inference over methods, towers, vocabularies, image sizes and batches."""

from __future__ import annotations

import argparse
from pathlib import Path

from repro.cli import common, speed_options


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``bench``."""
    common.declare(parser, "runs", "profile", "methods", methods="default: all")
    parser.add_argument(
        "--towers", type=common.names, metavar="T,..", help="default: base, and large where there is one"
    )
    parser.add_argument("--classes", type=common.integers, default=[150], metavar="N,..", help="default: 150")
    parser.add_argument("--sizes", type=common.integers, metavar="PX,..", help="image sides (default: the canvas)")
    parser.add_argument(
        "--batches", type=common.integers, default=[1], metavar="B,..", help="images at once (default: 1)"
    )
    parser.add_argument(
        "--curves",
        action="store_true",
        help="scaling: 20 to 847 classes, 1 to 16 windows, 1 to 8 images; one at a time",
    )
    parser.add_argument("--repeat", type=int, metavar="N", help="measured runs (default: 50 on a GPU, 10 on a CPU)")
    parser.add_argument("--warmup", type=int, metavar="N", help="runs before them (default: 10 on a GPU, 3 on a CPU)")
    parser.add_argument("--no-count", dest="count", action="store_false", help="do not count GFLOPs")
    parser.add_argument(
        "--no-stages", dest="stages", action="store_false", help="do not tell stages apart (saves runs)"
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="where files go (default: ./results/<profile>)")
    parser.add_argument("--name", default="bench", help="name of the files (default: bench)")
    common.declare(parser, "device")
    speed_options.add(parser)
    group = parser.add_argument_group("a visit to a GPU (docs/gpu-visit.md)")
    group.add_argument("--visit", action="store_true", help="all of a fixed list, into ./results/<device>")
    group.add_argument("--sections", type=common.names, metavar="S,..", help="only these of the list")
    group.add_argument("--budget", type=float, default=540, metavar="S", help="seconds (default: 540)")
    group.add_argument("--quick", action="store_true", help="tiny models, one run each: checks the way, no more")
    common.declare(parser, "json")
    parser.epilog = (
        "Needs neither data nor weights. Writes <name>.json, .csv, .md and, where an axis has several points,\n"
        "<name>_scaling.pdf and .svg. Every combination of the lists is measured, with --curves one axis at a time.\n\n"
        "examples:\n"
        "  repro bench --profile paper --methods catseg,disa --towers base\n"
        "  repro bench --curves --methods disa --repeat 5\n"
        "  repro bench --profile paper --amp bf16 --compile --name bench-bf16\n"
        "  repro bench --visit"
    )
    parser.set_defaults(execute=run)


def run(options: argparse.Namespace) -> int:
    """Measure, write and print; exit code 1 where a point failed, or a GPU is not right."""
    if options.visit:
        return _visit(options)
    from repro.cost.bench import FAILED
    from repro.measuring.bench import BenchRequest
    from repro.reports.bench import bench_sheet, make_bench

    records = make_bench(common.request(BenchRequest, options, speedups=speed_options.chosen(options)))
    common.answer(options, lambda: records, lambda: print(bench_sheet(records).markdown()))
    return 1 if any(r["status"] == FAILED for r in records) else 0


def _visit(options: argparse.Namespace) -> int:
    from repro.visit.running import VisitRequest, visit

    chosen = {"sections": options.sections} if options.sections else {}
    device = "cuda" if options.device == "auto" else options.device
    request = VisitRequest(device, options.quick, budget_s=options.budget, results=options.results, **chosen)
    return 0 if visit(request) else 1
