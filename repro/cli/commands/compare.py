"""``repro compare A B``: paired differences of two runs on the same images, with intervals and p-values."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from repro.cli import common
from repro.stats import RESAMPLES
from repro.stats.interval import Estimate
from repro.stats.metrics import get_metric

if TYPE_CHECKING:
    from repro.api.comparison import Comparison


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Declare the options of ``compare``."""
    parser.add_argument("a", metavar="A", help="run id (a unique prefix will do), run folder, runs a,b,.. or table:row")
    parser.add_argument("b", metavar="B", help="what A is compared with")
    data = "data of table:row in a profile with real data"
    of_row = {"profile": "profile of table:row (default: mini)", "data_root": data, "seeds": "seeds of table:row"}
    common.declare(parser, "runs", "profile", "data-root", "dataset", "seeds", **of_row)
    parser.add_argument("--benchmarks", "--benchmark", type=common.names, metavar="B,..", help="default: all in common")
    parser.add_argument(
        "--metrics", type=common.names, default=["miou_gt", "miou_union"], metavar="M,..",
        help="miou_gt, miou_union, miou_gt_thing, miou_gt_stuff, miou_seen, miou_unseen; measured: boundary_iou, "
        "trimap_2 .., stuff_as_thing, miou_small .., recall_small ..",
    )  # fmt: skip
    parser.add_argument("--classes", action="store_true", help="IoU differences of every class as well")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N", help=f"default: {RESAMPLES}")
    common.declare(parser, "json")
    parser.epilog = (
        "examples:\n  repro compare table1:disa-base table1:catseg-base\n"
        "  repro compare disa-mini-base-s0-1a2b catseg-mini-base-s0-3c --benchmark A-150 --classes\n\n"
        "Intervals are 95 %; p is two-sided, and corrected over the benchmarks after Holm (docs/statistics.md)."
    )
    parser.set_defaults(execute=compare)


def compare(options: argparse.Namespace) -> int:
    """Print the comparison."""
    from repro.api.comparison import compare_runs
    from repro.requests import CompareRequest

    found = compare_runs(common.request(CompareRequest, options))
    common.answer(options, found.to_json, lambda: _print(found))
    return 0


def _print(found: Comparison) -> None:
    print(
        f"A: {found.request.a}\nB: {found.request.b}\n"
        "Percent with 95 % intervals, A - B in points; p two-sided, corrected by Holm"
    )
    for metric in dict.fromkeys(line.metric for line in found.lines):
        family = [line for line in found.lines if line.metric == metric]
        print(f"\n{metric}: {get_metric(metric).title}")
        print(f"{'':<9}{'images':>7}{'seeds':>7}{'A':>22}{'B':>22}{'A - B':>24}{'p':>8}{'Holm p':>8}")
        for x in family:
            seeds = f"{x.seeds[0]}, {x.seeds[1]}"
            print(
                f"{x.benchmark:<9}{x.images:>7}{seeds:>7}{_shown(x.a):>22}{_shown(x.b):>22}"
                f"{_shown(x.difference.difference, signed=True):>24}{_p(x.difference.p):>8}"
                f"{_p(x.p_holm):>8}"
            )
    for benchmark, rows in found.classes.items():
        print(f"\n{benchmark}: IoU by class, A - B, largest differences first (Holm over {len(rows)} classes)")
        for r in sorted(rows, key=lambda r: -abs(r["difference"]["value"])):
            d = Estimate(*(float("nan") if v is None else v for v in r["difference"].values()))
            print(f"  {r['class'][:38]:<40}{r['kind']:<7}{r['images']:>5} images{_shown(d, signed=True):>24}"
                  f"{_p(r['p']):>8}{_p(r['p_holm']):>8}")  # fmt: skip
    for side, left_out in zip((found.request.a, found.request.b), found.left_out, strict=True):
        for text in left_out:
            print(f"Flagged and left out of {side}: {text}")
    for note in found.notes:
        print(f"Note: {note}.")


def _shown(e: Estimate, *, signed: bool = False) -> str:
    if not np.isfinite(e.value):
        return "-"
    form = "+.2f" if signed else ".2f"
    return f"{100 * e.value:{form}} [{100 * e.low:{form}}, {100 * e.high:{form}}]"


def _p(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}" if value >= 0.001 else "<0.001"
