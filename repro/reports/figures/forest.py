"""The forest plot of a table: every row minus one of them, with intervals; a panel a benchmark where rows are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from repro.reports.figures.plot_style import COLOURS, Look, draw_legend, looks, names, new_figure
from repro.reports.tables.evidence import Evidence, RowRuns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from repro.stats.paired import Difference

    Family = Mapping[str, tuple[Difference, float]]

COLUMNS = 3
"""Panels side by side; only the first of them has room for the names of rows."""


def differences_plot(evidence: Evidence, against: RowRuns) -> Figure | None:
    """Draw a forest plot: every row minus ``against`` on every benchmark, points of mIoU with 95 % intervals.

    Filled: p < 0.05 after Holm's correction over the benchmarks of the pair. More rows than there are colours get a
    panel a benchmark with their names beside it, in place of a legend. None where nothing can be paired.
    """
    rows = [r for r in evidence.finished() if r.id != against.id]
    found = {r.id: evidence.family(r.id, against.id) for r in rows}
    benchmarks = [b.id for b in evidence.plan.benchmarks if any(b.id in f for f in found.values())]
    if not benchmarks:
        return None
    style, title = looks(evidence), names(evidence)
    label = f"mIoU minus that of {title[against.id]}, points (95 % intervals; filled, *: Holm p < 0.05)"
    if len(rows) > len(COLOURS):
        return _panels(found, benchmarks, [title[r.id] for r in rows], label)
    figure, axes = new_figure(6.3, 0.5 + (0.17 * len(rows) + 0.12) * len(benchmarks))
    panel, y, places = axes[0, 0], 0.0, []
    for number, benchmark in enumerate(benchmarks):
        start = y
        for r in rows:
            if benchmark in found[r.id]:
                _interval(panel, y, found[r.id], benchmark, style[r.id])
            y += 1
        places.append((start + y - 1) / 2)
        if number % 2 == 0:
            panel.axhspan(start - 0.85, y - 0.15, color="0.96", zorder=0, linewidth=0)
        y += 0.7
    _frame(panel, places, benchmarks, y - 0.7 - 0.15)
    panel.set_xlabel(label)
    draw_legend(figure, [(r.id, title[r.id]) for r in rows], style)
    return figure


def _panels(found: Mapping[str, Family], benchmarks: Sequence[str], titles: Sequence[str], label: str) -> Figure:
    """Draw a panel a benchmark, all on one scale, with the rows in the order of the table."""
    lines = -(-len(benchmarks) // COLUMNS)
    columns = min(COLUMNS, len(benchmarks))
    size = (2.2 + 2.6 * columns, 0.5 + lines * (0.6 + 0.17 * len(titles)))
    figure, axes = new_figure(*size, lines, columns, sharex=True, sharey=True)
    look = Look(COLOURS[0], "o")
    for panel, benchmark in zip(axes.flat, benchmarks, strict=False):
        for y, family in enumerate(found.values()):
            if benchmark in family:
                _interval(panel, y, family, benchmark, look)
        _frame(panel, range(len(titles)), titles, len(titles) - 0.4)
        panel.set_title(benchmark, loc="left")
    for panel in axes.flat[len(benchmarks) :]:
        panel.set_visible(False)
    figure.supxlabel(label, fontsize=8)
    return figure


def _interval(panel: Axes, y: float, family: Family, benchmark: str, look: Look) -> None:
    """Draw one difference at height ``y``, and print it beside the panel."""
    d, p = family[benchmark]
    colour, marker = look
    value, low, high = (100 * v for v in (d.difference.value, d.difference.low, d.difference.high))
    panel.plot([low, high], [y, y], color=colour, linewidth=1.4, solid_capstyle="butt")
    panel.plot(value, y, marker, color=colour, markersize=5, markerfacecolor=colour if p < 0.05 else "white")
    text = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]" + ("  *" if p < 0.05 else "")
    panel.annotate(
        text.replace("-", "−"),
        (1.02, y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=6.5,
        annotation_clip=False,
    )


def _frame(panel: Axes, places: Sequence[float], labels: Sequence[str], end: float) -> None:
    panel.axvline(0, color="0.3", linewidth=0.8)
    panel.set_yticks(places, labels)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", visible=False)
    panel.set_ylim(end, -0.85)
