"""Plots of a table for print: vector files (PDF and SVG), colours the colour-blind can tell apart, markers beside them.

Drawn without a display.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.vocabulary import first_synonym
from repro.reports.figures.plot_style import (
    COLOURS,
    STYLE,
    draw_legend,
    looks,
    names,
    need_matplotlib,
    new_figure,
    save,
)
from repro.reports.figures.plots_runs import confusion_plot, cost_plot, curves_plot
from repro.reports.tables.evidence import Evidence, RowRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = 15
"""Of a larger vocabulary so many classes are plotted from each end of the order."""


def write_plots(evidence: Evidence, folder: Path, *, baseline: str | None = None, row: str | None = None) -> list[Path]:
    """Draw every plot there are results for into ``folder``/<table>_<plot>.{pdf,svg}; returns the paths.

    Differences are to ``baseline`` (Evidence.baseline); the classes of ``row`` are set against it (default: the last
    finished row). Raises ResourceError without matplotlib, UsageError for an unknown row or where nothing is finished.
    """
    need_matplotlib()
    from matplotlib import rc_context

    against = evidence.baseline(baseline)
    chosen = (
        evidence.baseline(row) if row else ([r for r in evidence.finished() if r.id != against.id] or [against])[-1]
    )
    plots: dict[str, Callable[[], Figure | None]] = {
        "differences": partial(differences_plot, evidence, against),
        "cost": partial(cost_plot, evidence),
        "curves": partial(curves_plot, evidence),
        "confusion": partial(confusion_plot, evidence),
        **{f"classes_{b.id}": partial(classes_plot, evidence, chosen, against, b.id) for b in evidence.plan.benchmarks},
    }
    written = []
    for name, plot in plots.items():
        with rc_context(STYLE):
            figure = plot()
            written += save(figure, folder, f"{evidence.plan.table.name}_{name}") if figure else []
    return written


# -- differences --------------------------------------------------------------------------------------------------
def differences_plot(evidence: Evidence, against: RowRuns) -> Figure | None:
    """Draw a forest plot: every row minus ``against`` on every benchmark, points of mIoU with 95 % intervals.

    Filled: p < 0.05 after Holm's correction over the benchmarks of the pair. None where nothing can be paired.
    """
    rows = [r for r in evidence.finished() if r.id != against.id]
    found = {r.id: evidence.family(r.id, against.id) for r in rows}
    benchmarks = [b.id for b in evidence.plan.benchmarks if any(b.id in f for f in found.values())]
    if not benchmarks:
        return None
    style, title = looks(evidence), names(evidence)
    figure, axes = new_figure(6.3, 0.5 + (0.17 * len(rows) + 0.12) * len(benchmarks))
    panel, y, places = axes[0, 0], 0.0, []
    for number, benchmark in enumerate(benchmarks):
        start = y
        for r in rows:
            if benchmark in found[r.id]:
                d, p = found[r.id][benchmark]
                colour, marker = style[r.id]
                value, low, high = (100 * v for v in (d.difference.value, d.difference.low, d.difference.high))
                panel.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt")
                panel.plot(
                    value, y, marker, color=colour, markersize=5, markerfacecolor=colour if p < 0.05 else "white"
                )
                text = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" + ("  *" if p < 0.05 else "")
                text = text.replace("-", "−")
                panel.annotate(
                    text,
                    (1.02, y),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    fontsize=6.5,
                    annotation_clip=False,
                )
            y += 1
        places.append((start + y - 1) / 2)
        if number % 2 == 0:
            panel.axhspan(start - 0.85, y - 0.15, color="0.96", zorder=0, linewidth=0)
        y += 0.7
    panel.axvline(0, color="0.3", linewidth=0.8)
    panel.set_yticks(places, benchmarks)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", visible=False)
    panel.set_ylim(y - 0.7 - 0.15, -0.85)
    panel.set_xlabel(f"mIoU minus that of {title[against.id]}, points (95 % intervals; filled, *: Holm p < 0.05)")
    draw_legend(figure, [(r.id, title[r.id]) for r in rows], style)
    return figure


def classes_plot(evidence: Evidence, row: RowRuns, against: RowRuns, benchmark: str) -> Figure | None:
    """Plot IoU of every class, ``row`` minus ``against``, with 95 % intervals; things and stuff in two colours.

    Of large vocabularies the classes from both ends of the order. None where the two cannot be paired.
    """
    entry, pairs = evidence.entry(row.id, benchmark), evidence.class_pairs(row.id, against.id, benchmark)
    if entry is None or not pairs:
        return None
    values = np.array([d.difference.value for d in pairs])
    values[~np.isfinite(entry.class_iou)] = np.nan
    order = [int(i) for i in np.argsort(-values) if np.isfinite(values[i])]
    total, cut = len(order), None
    if total > 2 * CLASSES:
        order, cut = order[:CLASSES] + order[-CLASSES:], CLASSES - 0.5
    title, kinds, classes = names(evidence), entry.benchmark.class_kinds(), entry.benchmark.class_names()
    figure, axes = new_figure(5.2, 0.9 + 0.155 * len(order))
    panel = axes[0, 0]
    for y, i in enumerate(order):
        d, thing = pairs[i].difference, kinds[i] == "thing"
        panel.barh(
            y, 100 * d.value, 0.72, color=COLOURS[0] if thing else COLOURS[4], hatch=None if thing else "////",
            edgecolor="white", linewidth=0,
        )  # fmt: skip
        if math.isfinite(d.low):
            panel.plot([100 * d.low, 100 * d.high], [y, y], color="0.15", linewidth=0.8)
    panel.set_yticks(range(len(order)), [f"{first_synonym(classes[i])[:26]} ({entry.class_images[i]})" for i in order])
    panel.tick_params(axis="y", labelsize=6.5, length=0)
    panel.grid(axis="y", visible=False)
    panel.set_ylim(len(order) - 0.4, -0.6)
    panel.axvline(0, color="0.3", linewidth=0.8)
    if cut is not None:
        panel.axhline(cut, color="0.3", linewidth=0.8, linestyle=(0, (4, 3)))
        panel.annotate(f"{total - len(order)} classes between", (0.99, cut), xycoords=("axes fraction", "data"),
                       ha="right", va="bottom", fontsize=6.5, color="0.3")  # fmt: skip
    panel.set_xlabel("IoU difference, points (95 % interval; in brackets: images with the class)")
    panel.set_title(f"{benchmark}: {title[row.id]} minus {title[against.id]}", loc="left")
    from matplotlib.patches import Patch

    shown = {kinds[i] for i in order}
    patches = [Patch(facecolor=COLOURS[0], label="thing")] * ("thing" in shown)
    patches += [Patch(facecolor=COLOURS[4], hatch="////", edgecolor="white", label="stuff")] * ("stuff" in shown)
    panel.legend(handles=patches, loc="lower right", fontsize=7)
    return figure
