"""From the cells of a plan to data frames: one tidy (one row per cell and seed), one as the paper prints it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import pandas as pd

from repro.configuration.published import PrintedRow, PublishedRows, find_published
from repro.configuration.tables import Row
from repro.reports.tables.columns import NONE, Columns, cell_columns, row_interval
from repro.reports.tables.controls import control_footnotes
from repro.reports.tables.printed import (
    FACTS,
    around,
    printed_notes,
    printed_of,
    printed_sources,
    rows_on,
    source_text,
)
from repro.reports.tables.sheet import hardware_line, plan_remarks
from repro.reports.tables.without_effect import without_effect
from repro.runs.addresses.places import adopted_note
from repro.runs.plan import Plan, train_set
from repro.runs.scored import OTHER_CODE
from repro.runs.status import DONE, CellStatus

MEASURED, PUBLISHED = "measured", "published"
FRACTIONS = ("miou_gt", "miou_union", "fwiou", "macc", "pacc")


def tidy_frame(plan: Plan, cells: Sequence[CellStatus], columns: Columns = NONE) -> pd.DataFrame:
    """Return one row per cell and seed: all metrics as fractions in full precision, provenance, published value.

    ``published`` is in the paper's unit (percent). ``difference_percent`` (measured minus published) is given only
    in profiles whose numbers are comparable with the papers'. ``columns`` adds intervals, bias and boundary quality.
    """
    return pd.DataFrame([_tidy_row(plan, cell) | cell_columns(plan, cell, columns) for cell in cells])


def _tidy_row(plan: Plan, status: CellStatus) -> dict[str, Any]:
    run, benchmark = status.cell.run, status.cell.benchmark
    metrics = status.metrics or {}
    published = find_published(run.row.published, benchmark.id)
    row: dict[str, Any] = {
        "table": plan.table.name,
        "profile": plan.profile.name,
        "row": run.row.id,
        "title": run.row.title,
        "method": run.entry.name,
        "tower": run.tower.title,
        "seed": run.seed,
        "benchmark": benchmark.id,
        "status": status.status,
        "flag": status.flag,
        **{name: metrics.get(name) for name in FRACTIONS},
        "images": metrics.get("num_images"),
        "published": published.value if published else None,
        "published_source": published.source if published else None,
        "published_convention": published.convention if published else None,
        "difference_percent": None,
        "protocol": status.cell.protocol_digest,
        "hardware": metrics.get("hardware"),
        "run": run.id,
    }
    measured = metrics.get(plan.table.metric)
    if plan.profile.comparable and published and measured is not None:
        row["difference_percent"] = 100 * measured - published.value
    return row


def paper_frame(
    plan: Plan, cells: Sequence[CellStatus], columns: Columns = NONE, published: PublishedRows = "ours"
) -> pd.DataFrame:
    """Return the table as printed: one row per method, one column per benchmark, values in percent.

    Columns ``method``, ``tower``, ``source`` (measured | published), ``seeds`` and one per benchmark. Measured values
    are the mean over seeds of the table's metric; where a row has several seeds, columns ``<benchmark> sd`` hold their
    standard deviation. A published row follows the measured row it belongs to. A cell that is not done is missing
    (NaN), never zero. With intervals in ``columns``, ``<benchmark> low`` and ``high`` bound the mean.

    With ``all`` as ``published``, the other rows of the paper's table stand around the measured ones where the paper
    has them, and columns say the backbone, the training set and additional data.
    """
    printed = rows_on(plan, published)
    groups = _by_row(cells)
    rows: list[dict[str, Any]] = []
    for (above, _), own in zip(around([g[0].cell.run.row for g in groups], printed), [*groups, []], strict=True):
        rows += [_printed_row(plan, p) for p in above]
        if own:
            rows += _measured_rows(plan, own, columns, published, printed)
    return _finished(rows)


def _measured_rows(
    plan: Plan, own: list[CellStatus], columns: Columns, published: PublishedRows, printed: Sequence[PrintedRow]
) -> list[dict[str, Any]]:
    """Return a measured row and, where it is wanted, the published one that belongs to it."""
    run = own[0].cell.run
    common: dict[str, Any] = {"method": run.row.title}
    trained = {"train_set": train_set(plan.profile).title.partition(",")[0] if run.train else ""} if printed else {}
    rows: list[dict[str, Any]]
    rows = [{**common, "tower": run.tower.title, "source": MEASURED, **_measured(plan, own, columns), **trained}]
    values = _published(plan, run.row) if published != "none" else {}
    if any(value is not None for value in values.values()):
        beside = printed_of(run.row)
        facts = {name: beside.columns[name] for name in FACTS} if printed and beside else {}
        tower = run.row.published.get("vlm", beside.vlm if printed and beside else "")
        rows.append({**common, "tower": tower, "source": PUBLISHED, "seeds": None, **values, **facts})
    return rows


def _printed_row(plan: Plan, printed: PrintedRow) -> dict[str, Any]:
    facts = {name: printed.columns[name] for name in FACTS}
    values = {b.id: printed.value(b.id) for b in plan.benchmarks}
    row: dict[str, Any] = {"method": printed.title, "tower": printed.vlm, "source": PUBLISHED, "seeds": None}
    return {**row, **values, **facts}


def beside_frame(
    plan: Plan, cells: Sequence[CellStatus], columns: Columns = NONE, published: PublishedRows = "ours"
) -> pd.DataFrame:
    """Return ``method``, ``tower``, ``seeds``, one column per benchmark (percent), with published values if wanted.

    Then ``<benchmark> sd`` where a row has several seeds, ``<benchmark> published`` and, only in profiles whose
    numbers are comparable with the papers', ``<benchmark> difference`` (measured minus published, points).
    """
    rows = []
    for own in _by_row(cells):
        run = own[0].cell.run
        measured = _measured(plan, own, columns)
        printed = _published(plan, run.row) if published != "none" else {}
        row = {"method": run.row.title, "tower": run.tower.title, **measured}
        row |= {f"{b} published": value for b, value in printed.items()}
        if plan.profile.comparable:
            row |= {f"{b} difference": _minus(measured[b], value) for b, value in printed.items()}
        rows.append(row)
    return _finished(rows)


def _by_row(cells: Sequence[CellStatus]) -> list[list[CellStatus]]:
    rows: dict[str, list[CellStatus]] = {}
    for cell in cells:
        rows.setdefault(cell.cell.run.row.id, []).append(cell)
    return list(rows.values())


def _measured(plan: Plan, cells: list[CellStatus], columns: Columns) -> dict[str, Any]:
    """Return the number of seeds that count on some benchmark, and of each benchmark the mean; with several seeds
    planned their standard deviation, and its interval.
    """
    planned = len({c.cell.run.seed for c in cells})
    found = {b.id: _percents(plan, cells, b.id) for b in plan.benchmarks}
    seeds = max((len(v) for v in found.values()), default=0)
    row: dict[str, Any] = {"seeds": seeds, **{b: statistics.fmean(v) if v else None for b, v in found.items()}}
    if planned > 1:
        row |= {f"{b} sd": statistics.stdev(v) if len(v) > 1 else None for b, v in found.items()}
    for b in found if columns.intervals else ():
        interval = row_interval(plan, [c for c in cells if c.cell.benchmark.id == b])
        row |= {f"{b} {end}": 100 * getattr(interval, end) if interval else None for end in ("low", "high")}
    return row


def _fewer_seeds(plan: Plan, cells: Sequence[CellStatus]) -> list[str]:
    """Return a remark on each row with benchmarks that have fewer seeds in their mean than the column Seeds says."""
    lines = []
    for own in _by_row(cells):
        counts = {b.id: len(_percents(plan, own, b.id)) for b in plan.benchmarks}
        fewer = [f"{b} {n}" for b, n in counts.items() if 0 < n < max(counts.values())]
        if fewer:
            run = own[0].cell.run
            lines.append(f"Fewer seeds: {run.row.title} ({run.tower.title}) on {', '.join(fewer)}.")
    return lines


def _percents(plan: Plan, cells: list[CellStatus], benchmark: str) -> list[float]:
    return [
        100 * c.metrics[plan.table.metric]
        for c in cells
        if c.cell.benchmark.id == benchmark and c.countable and c.metrics is not None
    ]


def _published(plan: Plan, row: Row) -> dict[str, float | None]:
    found = {b.id: find_published(row.published, b.id) for b in plan.benchmarks}
    return {b: p.value if p else None for b, p in found.items()}


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _finished(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a frame, deviations and intervals after the benchmarks whichever row has them first."""
    frame = pd.DataFrame(rows)
    frame["seeds"] = frame["seeds"].astype("Int64")
    last = [c for end in (" sd", " low", " high") for c in frame.columns if c.endswith(end)]
    last += [name for name in FACTS if name in frame.columns]
    return frame[[c for c in frame.columns if c not in last] + last]


def sources(rows: Sequence[Row], benchmarks: Sequence[str]) -> list[str]:
    """Say where the published values of ``rows`` come from and under which mIoU convention."""
    found = [p for row in rows for b in benchmarks if (p := find_published(row.published, b))]
    return list(dict.fromkeys(source_text(p) for p in found))


def notes(plan: Plan, cells: Sequence[CellStatus], published: PublishedRows = "ours") -> list[str]:
    """Return what must stand under the table: profile, metric, protocol, hardware, sources, gaps."""
    profile, p = plan.profile, plan.profile.protocol
    done = [c for c in cells if c.status == DONE and c.metrics]
    beside = "published ones" if published == "none" else "the published ones printed beside them"
    counts = {c.cell.benchmark.id: c.metrics["num_images"] for c in done if c.metrics}
    lines = [
        f"Profile {profile.name}: {profile.title}."
        + ("" if profile.comparable else f" Its numbers are not comparable with {beside}."),
        f"Metric {plan.table.metric}, percent: mean IoU over classes with ground truth"
        if plan.table.metric == "miou_gt"
        else f"Metric {plan.table.metric}, percent",
        f"Protocol: shorter side {p.short_side}, canvas {p.canvas}, windows of {p.window} at stride {p.stride}"
        f"{' and the whole image' if p.whole_image else ''} (version {p.version}).",
        "Images: " + (", ".join(f"{b} {n}" for b, n in counts.items()) or "none evaluated yet") + ".",
        hardware_line({str(c.metrics.get("hardware")) for c in done if c.metrics}),
    ]
    lines[1] += " (`miou_union` and others are in the CSV of cells)."
    origin = sources([run.row for run in plan.runs], [b.id for b in plan.benchmarks]) if published != "none" else []
    printed = rows_on(plan, published)
    origin = list(dict.fromkeys([*printed_sources(printed), *origin]))
    if origin:
        lines.append("Published: " + "; ".join(origin) + ".")
    lines += printed_notes(printed)
    lines += plan_remarks(plan)
    others = dict.fromkeys(cell.run.row.title for cell in plan.also)
    lines += [f"{title}: {OTHER_CODE}, whose protocol is not known; scored on the same labels." for title in others]
    if any(len({c.cell.run.seed for c in own}) > 1 for own in _by_row(cells)):
        lines.append("Several seeds: mean and sample standard deviation.")
    lines += _fewer_seeds(plan, cells)
    lines += without_effect(cells, FRACTIONS)
    for c in cells:
        if c.flag:
            run, where = c.cell.run, c.cell.benchmark.id
            who = f"{run.row.title} ({run.tower.title}, seed {run.seed}) on {where}"
            lines.append(f"Flagged and in no mean: {who}: {c.flag}.")
    reasons = dict.fromkeys((c.cell.run.row.title, c.adopted, c.cell.run.id) for c in done if c.adopted)
    lines += [adopted_note(*reason) for reason in reasons]
    lines += control_footnotes(plan.runs)
    lines += _others_labels(plan)
    open_cells = [c for c in cells if c.status != DONE]
    stale = sum(c.stale is not None for c in open_cells)
    if stale:
        lines.append(f"{stale} cells are stale: what is stored was made by code that computes something else.")
    if open_cells:
        lines.append(
            f"{len(open_cells)} of {len(cells)} cells are not computed: run the same table again to fill them."
        )
    return lines


def _others_labels(plan: Plan) -> list[str]:
    """Return a line for each benchmark whose labels do not remember their sources and cannot be compared with them."""
    from repro.runs.external import not_compared

    root = None if plan.profile.synthetic else plan.assets.data_root
    found = [] if root is None else [(b.id, not_compared(b, root)) for b in plan.benchmarks if b.root is None]
    return [f"{name}: {words}." for name, words in found if words]
