"""Compare two sides on the same images: paired differences with intervals and p-values (docs/statistics.md)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from repro.datasets.benchmarks import get_benchmark
from repro.errors import UsageError
from repro.metrics.seen import class_exposure, class_groups
from repro.requests import CompareRequest
from repro.runs.evaluations import Evaluation, Side, Where, find_side, matching
from repro.stats.interval import Estimate, finite, holm
from repro.stats.metrics import Metric, get_metric
from repro.stats.paired import Difference, Sampled, class_differences, difference, estimate, pair_seeds, sample_metrics
from repro.stats.resample import draw_images


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
    p_holm: float
    """p of the difference, corrected after Holm over the benchmarks of one metric."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What :func:`compare_runs` found: a line for each metric and benchmark, and where asked for, each class's rows."""

    request: CompareRequest
    lines: tuple[Line, ...]
    classes: Mapping[str, Sequence[Mapping[str, Any]]]
    left_out: tuple[Sequence[str], Sequence[str]]
    """Of both sides the evaluations that are flagged as implausible, and why."""
    notes: tuple[str, ...] = ()
    """What must be said beside the figures: sides without a protocol of ours, and parts of a set."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/json.md)."""
        rows = [
            {
                "benchmark": x.benchmark,
                "metric": x.metric,
                "images": x.images,
                "a": {**x.a.to_json(), "seeds": x.seeds[0], "sd": finite(x.sd[0])},
                "b": {**x.b.to_json(), "seeds": x.seeds[1], "sd": finite(x.sd[1])},
                "difference": {**x.difference.difference.to_json(), "pairs": x.pairs},
                "p": finite(x.difference.p),
                "p_holm": finite(x.p_holm),
            }
            for x in self.lines
        ]
        asked = self.request
        head = {"a": asked.a, "b": asked.b, "level": 0.95, "resamples": asked.resamples, "rows": rows}
        shown = {"classes": dict(self.classes)} if asked.classes else {}
        left_out = {"a": list(self.left_out[0]), "b": list(self.left_out[1])}
        return {**head, **shown, "left_out": left_out, "notes": list(self.notes)}


def compare_runs(request: CompareRequest) -> Comparison:
    """Compare both sides on every benchmark; UsageError where they may not be compared."""
    if request.resamples < 100:
        raise UsageError("too few resamples for an interval", expected="at least 100", found=request.resamples)
    metrics = [get_metric(name) for name in request.metrics]
    where = Where(request.runs, request.profile, request.data_root, request.seeds)
    sides = [find_side(text, where) for text in (request.a, request.b)]
    lines: list[Line] = []
    classes: dict[str, list[dict[str, Any]]] = {}
    notes: list[str] = []
    for benchmark in _common_benchmarks(sides, request.benchmarks, where):
        a, b = matching(sides[0].evaluations[benchmark], sides[1].evaluations[benchmark])
        times = draw_images(len(next(iter(a.values())).counts), request.resamples)
        lines += _lines(benchmark, a, b, metrics, times)
        notes += [note for side, found in zip("AB", (a, b), strict=True) for note in _notes(side, benchmark, found)]
        if request.classes:
            classes[benchmark] = _class_rows(a, b, times)
    return Comparison(
        request, _corrected(lines), classes, (sides[0].left_out, sides[1].left_out), tuple(dict.fromkeys(notes))
    )


def _notes(side: str, benchmark: str, found: Mapping[int, Evaluation]) -> Iterator[str]:
    if any(e.of_other_code for e in found.values()):
        yield (
            f"{side}: predictions of other code, whose protocol (resizing, windows, prompts) is not known; images, "
            "labels and classes are the same"
        )
    for part in dict.fromkeys(e.part for e in found.values() if e.part):
        yield f"{side}: a part of {benchmark}, {part}"


def _common_benchmarks(sides: Sequence[Side], wanted: Sequence[str] | None, where: Where) -> list[str]:
    both = [b for b in sides[0].evaluations if b in sides[1].evaluations]
    if wanted:
        names = [name if name in both else get_benchmark(name).id for name in wanted]
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
        lines.append(Line(benchmark, m.name, len(times), len(pairs[0]), first, second, sd, seeds, paired, paired.p))
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


def _corrected(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Correct p after Holm: a family is one metric on all benchmarks."""
    corrected = {}
    for metric in dict.fromkeys(line.metric for line in lines):
        family = [line for line in lines if line.metric == metric]
        for line, p in zip(family, holm([f.difference.p for f in family]), strict=True):
            corrected[line.benchmark, metric] = p
    return tuple(dataclasses.replace(line, p_holm=corrected[line.benchmark, line.metric]) for line in lines)
