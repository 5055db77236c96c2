"""Columns a table shows when asked for: intervals, foreground bias, boundary quality, size, seen classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from repro.metrics.bias import bias_shares, cross_counts
from repro.metrics.boundary import BOUNDARY, TRIMAP_WIDTHS
from repro.metrics.counts import Counts
from repro.metrics.measured import read_measure
from repro.metrics.seen import class_groups
from repro.metrics.size import SIZES
from repro.runs.plan import Plan
from repro.runs.status import DONE, CellStatus
from repro.stats import RESAMPLES
from repro.stats.interval import Estimate, finite
from repro.stats.metrics import SEEN_METRICS, get_metric, seen_metrics
from repro.stats.paired import estimate, interval_of, sample_metrics
from repro.stats.resample import draw_images, observed_totals

BIAS_COLUMNS = ("miou_gt_thing", "miou_gt_stuff", "stuff_as_thing", "thing_as_stuff", "foreground_bias")
BOUNDARY_COLUMNS = (BOUNDARY, *(f"trimap_{w}" for w in TRIMAP_WIDTHS))
SIZE_COLUMNS = (*(f"miou_{s}" for s in SIZES), *(f"recall_{s}" for s in SIZES))
COLUMNS = {"bias": BIAS_COLUMNS, "boundary": BOUNDARY_COLUMNS, "size": SIZE_COLUMNS, "seen": SEEN_METRICS}
"""What each measure shows of a cell, in the order of the columns."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """What is switched on: 95 % ``intervals``, and of ``measures`` (:data:`COLUMNS`) the figures of each cell."""

    intervals: bool = False
    measures: tuple[str, ...] = ()


NONE = Columns()


def cell_columns(plan: Plan, status: CellStatus, columns: Columns) -> dict[str, float | None]:
    """Return the columns of one cell, fractions: ``interval_low``, ``interval_high`` of the metric, each measure's.

    Bias and seen classes follow from the counts of every evaluation; others are None where not measured.
    """
    names = ["interval_low", "interval_high"] if columns.intervals else []
    names += [name for measure, own in COLUMNS.items() if measure in columns.measures for name in own]
    row: dict[str, float | None] = dict.fromkeys(names)
    folder = evaluation_folder(status)
    if status.status != DONE or folder is None:
        return row
    benchmark = status.cell.benchmark
    if columns.intervals:
        metric, kinds = get_metric(plan.table.metric), class_groups(benchmark)
        found = interval_of(Counts.load(folder / "counts.npz"), metric, kinds)
        row |= {"interval_low": finite(found.low), "interval_high": finite(found.high)}
    if "bias" in columns.measures:
        row |= _bias(Counts.load(folder / "counts.npz"), benchmark.class_kinds())
    if "seen" in columns.measures:
        row |= seen_metrics(Counts.load(folder / "counts.npz"), benchmark)
    for name in ("boundary", "size"):
        if name in columns.measures:
            row |= (read_measure(folder, name, benchmark) or {"values": {}})["values"]
    return row


def row_interval(plan: Plan, cells: Sequence[CellStatus]) -> Estimate | None:
    """Return the table's metric of one row on one benchmark with its interval, over images and the seeds of ``cells``.

    None where no cell is done, or where the seeds were evaluated on different images.
    """
    folders = [evaluation_folder(c) for c in cells if c.countable]
    counts = [Counts.load(folder / "counts.npz") for folder in folders if folder is not None]
    if not counts or any(c.keys != counts[0].keys for c in counts):
        return None
    metric, kinds = get_metric(plan.table.metric), class_groups(cells[0].cell.benchmark)
    times = draw_images(len(counts[0]), RESAMPLES)
    return estimate([sample_metrics(c, [metric], kinds, times)[metric.name] for c in counts])[0]


def evaluation_folder(status: CellStatus) -> Path | None:
    """Return the folder of a finished evaluation, or None where its counts are not there."""
    folder = status.cell.place.path
    return folder if (folder / "counts.npz").is_file() else None


def _bias(counts: Counts, kinds: Sequence[str]) -> dict[str, float | None]:
    totals = observed_totals(counts)
    apart = {name: float(get_metric(name)(totals, kinds)[0]) for name in ("miou_gt_thing", "miou_gt_stuff")}
    values = apart | bias_shares(cross_counts(counts.confusion, kinds))
    return {name: finite(np.float64(value)) for name, value in values.items()}
