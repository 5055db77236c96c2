"""Plots of what rows cost, how they trained, and how they confuse things with stuff."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from repro.metrics.bias import STUFF, THING, cross_counts
from repro.reports.figures.plot_style import COLOURS, DASHES, draw_legend, looks, names, new_figure
from repro.reports.tables.evidence import Entry, Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def cost_plot(evidence: Evidence) -> Figure | None:
    """Plot mIoU with its interval on every benchmark against GFLOPs and parameters of one inference.

    None where nothing can be counted.
    """
    from repro.measuring.cost import cost_status

    plan = evidence.plan
    vocabulary = "A-150" if "A-150" in plan.table.benchmarks else plan.table.benchmarks[0]  # as Table 2 counts
    table = dataclasses.replace(plan.table, benchmarks=(vocabulary,))
    states = cost_status(
        dataclasses.replace(plan, table=table, runs=tuple(r.runs[0] for r in evidence.finished())), None
    )
    counted = {s.cell.run.row.id: s.cost for s in states if s.cost}
    rows = [r for r in evidence.finished() if r.id in counted]
    benchmarks = [b.id for b in evidence.plan.benchmarks if any(evidence.entry(r.id, b.id) for r in rows)]
    if not benchmarks:
        return None
    style, title = looks(evidence), names(evidence)
    columns = min(3, len(benchmarks))
    lines = math.ceil(len(benchmarks) / columns)
    figure, axes = new_figure(2.1 * columns + 0.3, 1.75 * lines + 0.5, lines, columns, sharex=True)
    for panel in axes.flat[len(benchmarks) :]:
        panel.set_visible(False)
    for panel, benchmark in zip(axes.flat, benchmarks, strict=False):
        for r in rows:
            entry, cost = evidence.entry(r.id, benchmark), counted[r.id]
            if entry is None:
                continue
            value, (colour, marker) = entry.result[0], style[r.id]
            panel.plot([cost.gflops] * 2, [100 * value.low, 100 * value.high], color=colour, linewidth=1.2)
            panel.plot(cost.gflops, 100 * value.value, marker, color=colour, markersize=6)
        panel.set_title(benchmark, loc="left")
        panel.margins(x=0.15)
    gflops = [counted[r.id].gflops for r in rows]
    if max(gflops) > 10 * min(gflops):
        from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

        axes[0, 0].set_xscale("log")
        axes[0, 0].xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes[0, 0].xaxis.set_minor_locator(NullLocator())
        axes[0, 0].xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for panel in axes[-1]:
        panel.set_xlabel(f"GFLOPs ({vocabulary})")
    figure.supylabel("mIoU (%), 95 % interval", fontsize=8)
    labels = [(r.id, f"{title[r.id]} ({counted[r.id].parameters / 1e6:.1f} M)") for r in rows]
    draw_legend(figure, labels, style)
    return figure


def curves_plot(evidence: Evidence) -> Figure | None:
    """Plot training loss and norm of its gradient over iterations, one line per seed. None if nothing was trained."""
    logged = [(r, run, evidence.losses(run)) for r in evidence.rows for run in r.runs]
    logged = [(r, run, records) for r, run, records in logged if records]
    if not logged:
        return None
    style, title = looks(evidence), names(evidence)
    figure, axes = new_figure(6.3, 2.6, 1, 2)
    for panel, key, label in zip(
        axes[0], ("loss", "grad_norm"), ("Training loss", "Norm of the gradient"), strict=True
    ):
        for r, run, records in logged:
            points = [(x["iteration"], x[key]) for x in records if x.get(key) and math.isfinite(x[key])]
            if points:
                dash = DASHES[[q.seed for q in r.runs].index(run.seed) % len(DASHES)]
                panel.plot(*zip(*points, strict=True), dash, color=style[r.id].colour, linewidth=1.0)
        panel.set_yscale("log")
        panel.set_title(label, loc="left")
        panel.set_xlabel("iteration")
    rows = list(dict.fromkeys(r.id for r, _, _ in logged))
    several = any(len(r.runs) > 1 for r, _, _ in logged)
    note = "one line style per seed" if several else ""
    draw_legend(figure, [(r, title[r]) for r in rows], style, lines=True, note=note)
    return figure


def confusion_plot(evidence: Evidence) -> Figure | None:
    """Plot where the pixels of things and of stuff go: their class, another class of their kind, or the other kind."""
    rows = evidence.finished()
    title = names(evidence)
    bars = [
        (b.id, title[r.id], shares)
        for b in evidence.plan.benchmarks
        for r in rows
        if (entry := evidence.entry(r.id, b.id)) and (shares := kind_shares(entry)) is not None
    ]
    if not bars:
        return None
    figure, axes = new_figure(6.3, 0.9 + 0.16 * len(bars) + 0.08 * len(evidence.plan.benchmarks), 1, 2, sharey=True)
    parts = (("its class", COLOURS[2], None), ("another class of its kind", "0.8", None), ("", COLOURS[1], "////"))
    for kind, panel, across in ((THING, axes[0, 0], "stuff"), (STUFF, axes[0, 1], "things")):
        places, y, previous = [], 0.0, None
        for benchmark, _, shares in bars:
            y += 0.6 if previous not in (None, benchmark) else 0.0
            left = 0.0
            for (_, colour, hatch), share in zip(parts, shares[kind], strict=True):
                if math.isfinite(share):
                    look = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
                    panel.barh(y, 100 * share, 0.8, left=100 * left, **look)
                    left += share
            text = f"{100 * shares[kind][2]:.1f}" if math.isfinite(shares[kind][2]) else "no such class"
            panel.annotate(text, (101, y), va="center", fontsize=6.5, annotation_clip=False)
            places.append(y)
            y, previous = y + 1, benchmark
        panel.set_title("Thing pixels" if kind == THING else "Stuff pixels", loc="left")
        panel.set_yticks(places, [f"{row if len(row) <= 18 else row[:17] + '…'}   {b}" for b, row, _ in bars])
        panel.tick_params(axis="y", labelsize=6.5, length=0)
        panel.set_xlim(0, 100)
        panel.set_ylim(y - 0.4, -0.6)
        panel.set_xlabel(f"% of the pixels (right: taken for {across})")
        panel.grid(axis="y", visible=False)
    from matplotlib.patches import Patch

    labels = (parts[0][0], parts[1][0], "the other kind")
    patches = [
        Patch(facecolor=c, hatch=h, edgecolor="white", label=n) for n, (_, c, h) in zip(labels, parts, strict=True)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=7)
    return figure


def kind_shares(entry: Entry) -> tuple[tuple[float, float, float], ...] | None:
    """Return, of the pixels of things and of stuff, the shares (right class, same kind, other kind), seeds together.

    NaN for a kind without pixels; None where there are none at all.
    """
    confusion = np.sum([c.confusion for c in entry.counts.values()], axis=0)
    kinds = np.array(entry.benchmark.class_kinds())
    cross = cross_counts(confusion, list(kinds))
    if not cross.sum():
        return None
    shares = []
    for kind, name in ((THING, "thing"), (STUFF, "stuff")):
        own, right = int(cross[kind].sum()), int(np.diag(confusion)[kinds == name].sum())
        same = int(cross[kind, kind])
        shares.append((right / own, (same - right) / own, (own - same) / own) if own else (math.nan,) * 3)
    return tuple(shares)
