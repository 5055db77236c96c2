"""Plots of region tables: accuracy category by category, in order, and along what the rows of a table differ in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.datasets.panoptic import get_panoptic, panoptic_vocabulary
from repro.datasets.vocabulary import first_synonym
from repro.measuring.regions import GROUPS, RESAMPLES, TOP, RegionStatus
from repro.reports.figures.plot_style import (
    COLOURS,
    MARKERS,
    STYLE,
    Look,
    draw_legend,
    need_matplotlib,
    new_figure,
    save,
)
from repro.stats.interval import percentile_interval
from repro.stats.resample import draw_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from repro.runs.plan import Plan

GAIN, LOSS = "#009E73", "#D55E00"


def write_region_plots(
    plan: Plan, states: Sequence[RegionStatus], folder: Path, *, baseline: str | None = None, row: str | None = None
) -> list[Path]:
    """Draw what there are ranks for into ``folder``/<table>_<plot>_<set>.{pdf,svg}; returns the paths.

    ``categories``: ``row`` (default: the last) against ``baseline`` (default: what it was aligned from, else the
    first). ``sorted``: every row. ``along`` where the table's rows have places along something. Raises ResourceError
    without matplotlib.
    """
    need_matplotlib()
    from matplotlib import rc_context

    written = []
    with rc_context(STYLE):
        for name, figure in _figures(plan, states, baseline, row):
            written += save(figure, folder, f"{plan.table.name}_{name}")
    return written


def _figures(
    plan: Plan, states: Sequence[RegionStatus], baseline: str | None, row: str | None
) -> Iterator[tuple[str, Figure]]:
    for source in dict.fromkeys(s.cell.source.id for s in states):
        own = {s.cell.run.row.id: s for s in states if s.cell.source.id == source and s.ranks is not None}
        if not own:
            continue
        if pair := _pair(plan, own, baseline, row):
            yield f"categories_{source}", categories_plot(*pair)
        yield f"sorted_{source}", sorted_plot(list(own.values()))
        if plan.table.along and any(s.cell.run.row.at for s in own.values()):
            yield f"along_{source}", along_plot(plan.table.along, list(own.values()))


def _pair(
    plan: Plan, own: dict[str, RegionStatus], baseline: str | None, row: str | None
) -> tuple[RegionStatus, RegionStatus] | None:
    """Return the row to show and the one it is set against; None where one of them is not finished on this set."""
    chosen = own.get(row or list(own)[-1])
    if chosen is None:
        return None
    parts = plan.assets.tower_parts(chosen.cell.run.row.tower)
    start = [s for s in own.values() if parts and s.cell.run.row.tower == parts[0]]
    against = own.get(baseline) if baseline else [*start, next(iter(own.values()))][0]
    return None if against is None or against is chosen else (chosen, against)


# -- category by category -----------------------------------------------------------------------------------------
def categories_plot(row: RegionStatus, against: RegionStatus) -> Figure:
    """Plot top-1 accuracy of every category, in the order of ``row``'s, and that of ``against`` on the same segments.

    As Figure 4 of the DenseVLM paper. A line joins both: green where ``row`` is better, red where it is worse.
    """
    assert row.ranks is not None
    source = get_panoptic(row.cell.source.id)
    names = [first_synonym(name) for name in panoptic_vocabulary(source.vocabulary).names]
    most = max(len(row.ranks.by_category(g, 1)) for g in GROUPS)  # type: ignore[arg-type]
    figure, axes = new_figure(max(6.3, 1.2 + 0.115 * most), 7.2, len(GROUPS), 1)
    for panel, (group, heading) in zip(axes[:, 0], GROUPS.items(), strict=True):
        _dumbbells(panel, row, against, group, names)
        panel.set_title(f"{source.title}, {heading}", loc="left")
    titles = [(row, COLOURS[0], "o"), (against, "0.35", "D")]
    style = {s.cell.run.row.id: Look(colour, marker) for s, colour, marker in titles}
    draw_legend(figure, [(s.cell.run.row.id, s.cell.run.row.title) for s, _, _ in titles], style)
    return figure


def _dumbbells(panel: Axes, row: RegionStatus, against: RegionStatus, group: Any, names: Sequence[str]) -> None:
    assert row.ranks is not None
    assert against.ranks is not None
    own, other = (s.ranks.by_category(group, 1) for s in (row, against))  # type: ignore[union-attr]
    order = sorted(own, key=lambda c: (-own[c][0], c))
    values, before = (np.array([100 * found[c][0] for c in order]) for found in (own, other))
    places = np.arange(len(order))
    for better, colour in ((values >= before, GAIN), (values < before, LOSS)):
        panel.vlines(places[better], before[better], values[better], colors=colour, linewidth=1.6, alpha=0.7)
    panel.plot(places, before, "D", color="0.35", markersize=2.6)
    panel.plot(places, values, "o", color=COLOURS[0], markersize=3.4)
    panel.set_xticks(places, [f"{names[c][:18]} ({own[c][1]})" for c in order], rotation=90, fontsize=4.6)
    panel.set_xlim(-0.8, max(len(order), 1) - 0.2)
    panel.set_ylim(-3, 103)
    panel.set_ylabel("top-1 (%)")
    panel.grid(axis="x", visible=False)
    panel.tick_params(axis="x", length=1.5, pad=1)


def sorted_plot(states: Sequence[RegionStatus]) -> Figure:
    """Plot for every row its categories' top-1 accuracies from the best to the worst, each row in its own order.

    Below its curve lies the mean accuracy of the table: a broad gain lifts all of it, a bias only a part.
    """
    figure, axes = new_figure(6.3, 2.5, 1, len(GROUPS), sharey=True)
    style = _looks(states)
    for panel, (group, heading) in zip(axes[0], GROUPS.items(), strict=True):
        for state in states:
            assert state.ranks is not None
            found = sorted((v for v, _ in state.ranks.by_category(group, 1).values()), reverse=True)  # type: ignore[arg-type]
            look = style[state.cell.run.row.id]
            panel.plot(
                np.arange(1, len(found) + 1),
                100 * np.array(found),
                color=look.colour,
                marker=look.marker,
                markevery=max(1, len(found) // 8),
                markersize=3.5,
                linewidth=1.3,
            )
        panel.set_title(heading, loc="left")
        panel.set_xlabel("categories, the best first")
        panel.set_ylim(-3, 103)
    axes[0, 0].set_ylabel(f"{states[0].cell.source.title}, top-1 (%)")
    draw_legend(figure, [(s.cell.run.row.id, s.cell.run.row.title) for s in states], style)
    return figure


# -- along something ----------------------------------------------------------------------------------------------
def along_plot(along: str, states: Sequence[RegionStatus]) -> Figure:
    """Plot mean accuracy against each row's place (``Row.at``), with 95 % intervals over images; rows at 0 as lines.

    As Figure 6 of the DenseVLM paper.
    """
    figure, axes = new_figure(6.3, 2.7, 1, len(TOP), sharex=True)
    rows = sorted((s for s in states if s.cell.run.row.at), key=lambda s: s.cell.run.row.at or 0.0)
    places = [s.cell.run.row.at or 0.0 for s in rows]
    style = {g: Look(COLOURS[i], MARKERS[i]) for i, g in enumerate(GROUPS)}
    for panel, (top, k) in zip(axes[0], TOP.items(), strict=True):
        for group in GROUPS:
            found = [s.measured()[f"{group}_{top}"] for s in rows]
            means = [float("nan") if value is None else 100 * value for value in found]
            bounds = np.array([_interval(s, group, k) for s in rows]).reshape(-1, 2)
            colour, marker = style[group]
            panel.fill_between(places, bounds[:, 0], bounds[:, 1], color=colour, alpha=0.15, linewidth=0)
            panel.plot(places, means, color=colour, marker=marker, markersize=4.5, linewidth=1.3)
            for state in states:
                start = state.measured()[f"{group}_{top}"]
                if state.cell.run.row.at == 0 and start is not None:
                    panel.axhline(100 * start, color=colour, linewidth=0.9, linestyle=(0, (4, 3)))
        panel.set_xscale("log", base=2)
        panel.set_xticks(places, [str(Fraction(place).limit_denominator(1000)) for place in places])
        panel.minorticks_off()
        panel.set_xlabel(along)
        panel.set_title(f"{states[0].cell.source.title}, {top.replace('top', 'top-')}", loc="left")
    axes[0, 0].set_ylabel("mean accuracy (%)")
    starts = ", ".join(s.cell.run.row.title for s in states if s.cell.run.row.at == 0)
    draw_legend(figure, list(GROUPS.items()), style, note=f"dashed: {starts}" if starts else "")
    return figure


def _interval(state: RegionStatus, group: Any, k: int) -> tuple[float, float]:
    assert state.ranks is not None
    drawn = state.ranks.resampled(group, k, draw_images(state.ranks.images, RESAMPLES))
    low, high = percentile_interval(100 * drawn)
    return low, high


def _looks(states: Sequence[RegionStatus]) -> dict[str, Look]:
    return {s.cell.run.row.id: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, s in enumerate(states)}
