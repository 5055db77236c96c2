"""``repro figures threshold``: mIoU against the threshold below which a method calls a pixel background."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from repro.console import log
from repro.datasets import layout
from repro.datasets.benchmarks import Benchmark, all_sets, get_benchmark
from repro.errors import UsageError, WeightsError, command
from repro.files import write_atomic, write_text
from repro.hardware import choose_device
from repro.measuring.figures import load_trained
from repro.metrics.miou import metrics_from_counts
from repro.reports.figures.plot_style import COLOURS, DASHES, MARKERS, STYLE, need_matplotlib, new_figure
from repro.runs.plan import Run
from repro.runs.progress import count_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from repro.reports.figures.draw import FiguresRequest

VALUES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
METRICS = ("miou_gt", "miou_union")


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A run at every threshold: ``own`` is that of its options, ``metrics`` are fractions, by value and name."""

    run_id: str
    run: Run
    own: float
    images: int
    metrics: dict[float, dict[str, float]]


def draw_thresholds(request: FiguresRequest, runs: Sequence[tuple[str, Run]]) -> list[Path]:
    """Evaluate ``runs`` at all thresholds and write the figure (PDF, PNG) and its numbers (CSV); return the files.

    Runs of methods without a threshold and those that are not trained are left out. Raises UsageError for a benchmark
    without a background, for thresholds outside 0..1 and where no run has one, WeightsError where none is trained,
    ResourceError without matplotlib.
    """
    need_matplotlib()
    benchmark = get_benchmark(request.benchmark)
    if benchmark.background_index is None:
        fitting = [name for name, known in all_sets().items() if known.background_index is not None]
        raise UsageError(
            f"{benchmark.id} has no background to find by a threshold",
            expected=", ".join(fitting),
            found=benchmark.id,
            mend=command("--benchmark", fitting[0]),
        )
    values = tuple(dict.fromkeys(request.thresholds or VALUES))
    if not all(0 < value < 1 for value in values):
        raise UsageError("a threshold lies between 0 and 1", found=", ".join(map(str, values)))
    device = choose_device(request.device)
    sweeps: list[Sweep] = []
    untrained: list[WeightsError] = []
    for run_id, run in runs:
        try:
            found = sweep(run_id, run, benchmark, values, device)
        except WeightsError as error:
            log(f"left out: {error.message}")
            untrained.append(error)
            continue
        sweeps += [found] if found else []
    if not sweeps and len(untrained) == len(runs) > 0:
        raise untrained[0]
    if not sweeps:
        raise UsageError(
            "none of these runs finds the background by a threshold",
            expected="a run of a method with one",
            found=", ".join(run_id for run_id, _ in runs),
        )
    written = [_write_numbers(sweeps, benchmark, request.out), *_write_figure(sweeps, benchmark, request.out)]
    for path in written:
        log(f"wrote {path}")
    return written


def sweep(run_id: str, run: Run, benchmark: Benchmark, values: Sequence[float], device: str) -> Sweep | None:
    """Evaluate a trained run at all ``values``; None where its method has no threshold, or not with its options."""
    from repro.clip.tower import keep_text
    from repro.evaluation.thresholds import count_thresholds

    method = load_trained(run, run_id, device)
    own = getattr(run.options, method.threshold) if method.threshold else None
    if own is None:
        log(f"left out: {run.row.title} ({run_id}) has no threshold")
        return None
    keep_text(method, run.assets.store.cache / "text")
    pairs = layout.prepared_pairs(benchmark, run.assets.ensure_set(benchmark, log))
    log(f"evaluating {run.row.title} ({run_id}) on {benchmark.id} at {len(values)} thresholds: {len(pairs)} images")
    with count_progress(f"thresholds on {benchmark.id}", "image") as update:
        counts = count_thresholds(method, benchmark, pairs, run.profile.protocol, values, device, update)
    metrics = {value: metrics_from_counts(each) for value, each in counts.items()}
    return Sweep(run_id, run, float(own), len(pairs), metrics)


def _write_numbers(sweeps: Sequence[Sweep], benchmark: Benchmark, out: Path) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "title", "profile", "benchmark", "images", "seed", "threshold", *METRICS])
    for s in sweeps:
        facts = [s.run_id, s.run.row.title, s.run.profile.name, benchmark.id, s.images, s.run.seed]
        for value, metrics in s.metrics.items():
            writer.writerow([*facts, value, *(metrics[name] for name in METRICS)])
    path = out / f"{benchmark.id}_threshold.csv"
    write_text(path, text.getvalue())
    return path


def _write_figure(sweeps: Sequence[Sweep], benchmark: Benchmark, out: Path) -> list[Path]:
    from matplotlib import rc_context

    written = []
    with rc_context(STYLE):
        figure = threshold_figure(sweeps, benchmark)
        for form in ("pdf", "png"):
            path = out / f"{benchmark.id}_threshold.{form}"
            extra = {"metadata": {"CreationDate": None}} if form == "pdf" else {"dpi": 200}
            write_atomic(path, partial(figure.savefig, format=form, bbox_inches="tight", **extra))
            written.append(path)
    return written


def threshold_figure(sweeps: Sequence[Sweep], benchmark: Benchmark) -> Figure:
    """Plot mIoU (%) over the threshold, a line a run; the threshold of a run's own options is ringed."""
    figure, axes = new_figure(4.2, 3.0)
    panel = axes[0, 0]
    titles = list(dict.fromkeys(s.run.row.title for s in sweeps))
    for s in sweeps:
        number = titles.index(s.run.row.title)
        alike = [other for other in sweeps if other.run.row.title == s.run.row.title]
        seeds = {other.run.seed for other in alike}
        which = f"seed {s.run.seed}" if len(seeds) == len(alike) else s.run_id.rpartition("-")[2]
        name = s.run.row.title + (f", {which}" if len(alike) > 1 else "")
        points = sorted((value, 100 * m["miou_gt"]) for value, m in s.metrics.items())
        look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 4}
        dash = DASHES[alike.index(s) % len(DASHES)]
        panel.plot(*zip(*points, strict=True), dash, linewidth=1.2, label=name, **look)
        own = [point for point in points if point[0] == s.own]
        panel.plot(
            *(zip(*own, strict=True) if own else ([], [])), "o", mfc="none", mec="black", markersize=9, clip_on=False
        )
    panel.plot([], [], "o", mfc="none", mec="black", markersize=9, label="threshold of the run")
    panel.set_xlabel("threshold: a pixel whose best score is below it is background", fontsize=8)
    panel.set_ylabel("mIoU (%)")
    panel.set_ylim(0, 1.08 * panel.get_ylim()[1])  # a flat line stays below the edge
    images = sweeps[0].images
    panel.set_title(f"{benchmark.id}, {images} images, profile {sweeps[0].run.profile.name}", loc="left")
    figure.legend(loc="outside lower center", ncols=2, fontsize=7)
    return figure
