"""From the cells of a plan to data frames: one tidy (a row a cell and seed), one as the paper prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from repro.experiments.plan import Plan
from repro.experiments.status import DONE, CellStatus
from repro.experiments.tables import Row
from repro.reports.published import find_published

MEASURED, PUBLISHED = "measured", "published"
FRACTIONS = ("miou_gt", "miou_union", "fwiou", "macc", "pacc")


def tidy_frame(plan: Plan, cells: Sequence[CellStatus]) -> pd.DataFrame:
    """One row a cell and seed: all aggregate metrics as fractions in full precision, provenance, published value.

    ``published`` is in the paper's unit (percent). ``difference_percent`` (measured minus published) is given only
    in profiles whose numbers are comparable with the papers'.
    """
    return pd.DataFrame([_tidy_row(plan, cell) for cell in cells])


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


def paper_frame(plan: Plan, cells: Sequence[CellStatus]) -> pd.DataFrame:
    """The table as printed: a row a method, a column a benchmark, values in percent.

    Columns ``method``, ``tower``, ``source`` (measured | published), ``seeds`` and one a benchmark. Measured values
    are the mean over seeds of the table's metric; a published row follows the measured row it belongs to. A cell that
    is not done is missing (NaN), never zero.
    """
    rows: list[dict[str, Any]] = []
    for row in dict.fromkeys(cell.cell.run.row.id for cell in cells):
        own = [c for c in cells if c.cell.run.row.id == row]
        run = own[0].cell.run
        common = {"method": run.row.title}
        seeds = len({c.cell.run.seed for c in own})
        values = {b.id: _mean_percent(plan, own, b.id) for b in plan.benchmarks}
        rows.append({**common, "tower": run.tower.title, "source": MEASURED, "seeds": seeds, **values})
        printed = {b.id: find_published(run.row.published, b.id) for b in plan.benchmarks}
        if any(printed.values()):
            values = {b: p.value if p else None for b, p in printed.items()}
            tower = run.row.published.get("vlm", "")
            rows.append({**common, "tower": tower, "source": PUBLISHED, "seeds": None, **values})
    frame = pd.DataFrame(rows)
    frame["seeds"] = frame["seeds"].astype("Int64")
    return frame


def _mean_percent(plan: Plan, cells: list[CellStatus], benchmark: str) -> float | None:
    values = [
        100 * c.metrics[plan.table.metric]
        for c in cells
        if c.cell.benchmark.id == benchmark and c.status == DONE and c.metrics is not None
    ]
    return sum(values) / len(values) if values else None


def sources(rows: Sequence[Row], benchmarks: Sequence[str]) -> list[str]:
    """Where the published values of ``rows`` come from and under which mIoU convention."""
    found = [p for row in rows for b in benchmarks if (p := find_published(row.published, b))]
    return list(dict.fromkeys(f"{p.source} (mIoU convention: {p.convention})" for p in found))


def notes(plan: Plan, cells: Sequence[CellStatus]) -> list[str]:
    """What must stand under the table: profile, metric, protocol, hardware, sources, gaps."""
    profile, p = plan.profile, plan.profile.protocol
    done = [c for c in cells if c.status == DONE and c.metrics]
    counts = {c.cell.benchmark.id: c.metrics["num_images"] for c in done if c.metrics}
    hardware_labels = sorted({str(c.metrics.get("hardware")) for c in done if c.metrics})
    lines = [
        f"Profile {profile.name}: {profile.title}."
        + (
            "" if profile.comparable else " Its numbers are not comparable with the published ones printed beside them."
        ),
        f"Metric {plan.table.metric}, percent: mean IoU over classes with ground truth"
        if plan.table.metric == "miou_gt"
        else f"Metric {plan.table.metric}, percent",
        f"Protocol: shorter side {p.short_side}, canvas {p.canvas}, windows of {p.window} at stride {p.stride}"
        f"{' and the whole image' if p.whole_image else ''} (version {p.version}).",
        "Images: " + (", ".join(f"{b} {n}" for b, n in counts.items()) or "none evaluated yet") + ".",
        "Hardware: " + ("; ".join(hardware_labels) or "none yet") + ".",
    ]
    lines[1] += " (`miou_union` and others are in the CSV of cells)."
    origin = sources([r for r in plan.table.rows if r.tower in profile.towers], plan.table.benchmarks)
    if origin:
        lines.append("Published: " + "; ".join(origin) + ".")
    open_cells = [c for c in cells if c.status != DONE]
    if open_cells:
        lines.append(
            f"{len(open_cells)} of {len(cells)} cells are not computed: run the same table again to fill them."
        )
    return lines
