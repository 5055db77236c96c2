"""``repro compare A B``: paired differences of two runs on the same images, with intervals and p-values."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repro.benchmarks.seen import class_exposure, class_groups
from repro.benchmarks.spec import get_benchmark
from repro.cli import common
from repro.errors import UsageError
from repro.experiments.evaluations import Evaluation, Side, Where, find_side, matching
from repro.stats.interval import Estimate, finite, holm
from repro.stats.metrics import Metric, get_metric
from repro.stats.paired import (
    RESAMPLES,
    Difference,
    Sampled,
    class_differences,
    difference,
    estimate,
    pair_seeds,
    sample_metrics,
)
from repro.stats.resample import draw_images

DEFAULT_METRICS = ("miou_gt", "miou_union")


def configure(parser: argparse.ArgumentParser, _command: str) -> None:
    """Options of ``compare``."""
    parser.add_argument("a", metavar="A", help="run id (a unique prefix will do), run folder, runs a,b,.. or table:row")
    parser.add_argument("b", metavar="B", help="what A is compared with")
    common.add_store_options(parser)
    parser.add_argument("--profile", default="mini", help="profile of table:row (default: mini)")
    parser.add_argument("--data-root", type=Path, metavar="DIR", help="data of table:row in a profile with real data")
    parser.add_argument("--seeds", type=common.integers, metavar="S,..", help="seeds of table:row")
    parser.add_argument("--benchmarks", "--benchmark", type=common.names, metavar="B,..", help="default: all in common")
    parser.add_argument(
        "--metrics", type=common.names, default=list(DEFAULT_METRICS), metavar="M,..",
        help="miou_gt, miou_union, miou_gt_thing, miou_gt_stuff, miou_seen, miou_unseen; measured: boundary_iou, "
        "trimap_2 .., stuff_as_thing, miou_small .., recall_small ..",
    )  # fmt: skip
    parser.add_argument("--classes", action="store_true", help="IoU differences of every class as well")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, metavar="N", help=f"default: {RESAMPLES}")
    common.add_json_option(parser)
    parser.epilog = (
        "examples:\n  repro compare table1:disa-base table1:catseg-base\n"
        "  repro compare disa-mini-base-s0-1a2b catseg-mini-base-s0-3c --benchmark A-150 --classes\n\n"
        "Intervals are 95 %; p is two-sided, and corrected over the benchmarks after Holm (docs/statistics.md)."
    )
    parser.set_defaults(execute=compare)


@dataclasses.dataclass(frozen=True)
class Line:
    """One metric on one benchmark: both sides, their difference; seeds paired, deviations over a side's own seeds."""

    benchmark: str
    metric: str
    images: int
    pairs: int
    a: Estimate
    b: Estimate
    sd: tuple[float, float]
    seeds: tuple[int, int]
    difference: Difference


def compare(options: argparse.Namespace) -> int:
    """Print the comparison; UsageError where the two sides may not be compared."""
    if options.resamples < 100:
        raise UsageError("too few resamples for an interval", expected="at least 100", found=options.resamples)
    metrics = [get_metric(name) for name in options.metrics]
    where = Where(options.runs, options.profile, options.data_root, options.seeds)
    sides = [find_side(text, where) for text in (options.a, options.b)]
    lines: list[Line] = []
    classes: dict[str, list[dict[str, Any]]] = {}
    for benchmark in _common_benchmarks(sides, options.benchmarks, where):
        a, b = matching(sides[0].evaluations[benchmark], sides[1].evaluations[benchmark])
        times = draw_images(len(next(iter(a.values())).counts), options.resamples)
        lines += _lines(benchmark, a, b, metrics, times)
        if options.classes:
            classes[benchmark] = _class_rows(a, b, times)
    corrected = _corrected(lines)
    if options.json:
        left_out = {"left_out": {"a": list(sides[0].left_out), "b": list(sides[1].left_out)}}
        common.print_json({**_document(options, lines, corrected, classes), **left_out})
        return 0
    _print(options, lines, corrected, classes)
    for side in sides:
        for text in side.left_out:
            print(f"Flagged and left out of {side.title}: {text}")
    return 0


def _common_benchmarks(sides: Sequence[Side], wanted: Sequence[str] | None, where: Where) -> list[str]:
    both = [b for b in sides[0].evaluations if b in sides[1].evaluations]
    if wanted:
        names = [get_benchmark(name).id for name in wanted]
        absent = [name for name in names if name not in both]
    else:
        names, absent = both, []
    if absent or not names:
        raise UsageError(
            f"not evaluated on both sides: {', '.join(absent) or 'any benchmark'}",
            expected="benchmarks that both were evaluated on",
            found="; ".join(f"{s.title}: {', '.join(s.evaluations)}" for s in sides),
            mend=where.evaluating("--benchmarks", ",".join(absent) or "B"),
        )
    return names


def _lines(
    benchmark: str,
    a: Mapping[int, Evaluation],
    b: Mapping[int, Evaluation],
    metrics: Sequence[Metric],
    times: Any,
) -> list[Line]:
    kinds = class_groups(next(iter(a.values())).benchmark)

    def sampled(evaluation: Evaluation) -> dict[str, Sampled]:
        found: dict[str, Sampled] = {}
        for source in dict.fromkeys(m.source for m in metrics):
            own = [m for m in metrics if m.source == source]
            found |= sample_metrics(evaluation.source(source), own, kinds, times)
        return found

    ours, theirs = ({seed: sampled(e) for seed, e in side.items()} for side in (a, b))
    pairs = pair_seeds(ours, theirs)
    if pairs is None:
        raise UsageError(
            f"{benchmark}: the two sides have no seed in common",
            expected="equal seeds, or a single run on one side",
            found=f"seeds {sorted(ours)} and {sorted(theirs)}",
            mend="repro run TABLE --seeds S,..",
        )
    lines = []
    for m in metrics:
        own = [[run[m.name] for run in side.values()] for side in (ours, theirs)]
        (first, spread_a), (second, spread_b) = (estimate(side) for side in own)
        paired = difference([run[m.name] for run in pairs[0]], [run[m.name] for run in pairs[1]])
        sd, seeds = (spread_a.sd, spread_b.sd), (spread_a.seeds, spread_b.seeds)
        lines.append(Line(benchmark, m.name, len(times), len(pairs[0]), first, second, sd, seeds, paired))
    return lines


def _class_rows(a: Mapping[int, Evaluation], b: Mapping[int, Evaluation], times: Any) -> list[dict[str, Any]]:
    first = next(iter(a.values()))
    names = [row["name"] for row in first.record["per_class"]]
    images = np.bincount(first.counts.classes[first.counts.ground_truth > 0], minlength=len(names))
    found = class_differences([e.counts for e in a.values()], [e.counts for e in b.values()], times)
    p_holm = holm([d.p for d in found])
    return [
        {"class": name, "kind": kind, "exposure": exposure or None, "images": int(n),
         "difference": d.difference.to_json(), "p": finite(d.p), "p_holm": finite(p)}
        for name, kind, exposure, n, d, p in zip(
            names, first.benchmark.class_kinds(), class_exposure(first.benchmark), images, found, p_holm, strict=True
        )
        if np.isfinite(d.difference.value)
    ]  # fmt: skip


def _corrected(lines: Sequence[Line]) -> dict[tuple[str, str], float]:
    """Holm's p of each (benchmark, metric): a family is one metric on all benchmarks."""
    out = {}
    for metric in dict.fromkeys(line.metric for line in lines):
        family = [line for line in lines if line.metric == metric]
        for line, p in zip(family, holm([f.difference.p for f in family]), strict=True):
            out[line.benchmark, metric] = p
    return out


def _document(
    options: argparse.Namespace,
    lines: Sequence[Line],
    corrected: Mapping[tuple[str, str], float],
    classes: Mapping[str, Any],
) -> dict[str, Any]:
    rows = [
        {
            "benchmark": x.benchmark,
            "metric": x.metric,
            "images": x.images,
            "a": {**x.a.to_json(), "seeds": x.seeds[0], "sd": finite(x.sd[0])},
            "b": {**x.b.to_json(), "seeds": x.seeds[1], "sd": finite(x.sd[1])},
            "difference": {**x.difference.difference.to_json(), "pairs": x.pairs},
            "p": finite(x.difference.p),
            "p_holm": finite(corrected[x.benchmark, x.metric]),
        }
        for x in lines
    ]
    shown = {"classes": dict(classes)} if options.classes else {}
    return {"a": options.a, "b": options.b, "level": 0.95, "resamples": options.resamples, "rows": rows, **shown}


def _print(
    options: argparse.Namespace,
    lines: Sequence[Line],
    corrected: Mapping[tuple[str, str], float],
    classes: Mapping[str, Any],
) -> None:
    print(
        f"A: {options.a}\nB: {options.b}\nPercent with 95 % intervals, A - B in points; p two-sided, corrected by Holm"
    )
    for metric in dict.fromkeys(line.metric for line in lines):
        family = [line for line in lines if line.metric == metric]
        print(f"\n{metric}: {get_metric(metric).title}")
        print(f"{'':<9}{'images':>7}{'seeds':>7}{'A':>22}{'B':>22}{'A - B':>24}{'p':>8}{'Holm p':>8}")
        for x in family:
            seeds = f"{x.seeds[0]}, {x.seeds[1]}"
            print(
                f"{x.benchmark:<9}{x.images:>7}{seeds:>7}{_shown(x.a):>22}{_shown(x.b):>22}"
                f"{_shown(x.difference.difference, signed=True):>24}{_p(x.difference.p):>8}"
                f"{_p(corrected[x.benchmark, metric]):>8}"
            )
    for benchmark, rows in classes.items():
        print(f"\n{benchmark}: IoU by class, A - B, largest differences first (Holm over {len(rows)} classes)")
        for r in sorted(rows, key=lambda r: -abs(r["difference"]["value"])):
            d = Estimate(*(float("nan") if v is None else v for v in r["difference"].values()))
            print(f"  {r['class'][:38]:<40}{r['kind']:<7}{r['images']:>5} images{_shown(d, signed=True):>24}"
                  f"{_p(r['p']):>8}{_p(r['p_holm']):>8}")  # fmt: skip


def _shown(e: Estimate, *, signed: bool = False) -> str:
    if not np.isfinite(e.value):
        return "-"
    form = "+.2f" if signed else ".2f"
    return f"{100 * e.value:{form}} [{100 * e.low:{form}}, {100 * e.high:{form}}]"


def _p(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.3f}" if value >= 0.001 else "<0.001"
