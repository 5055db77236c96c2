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
from repro.reports.figures.forest import differences_plot
from repro.reports.figures.plot_style import COLOURS, STYLE, names, need_matplotlib, new_figure, save
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
