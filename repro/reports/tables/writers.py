"""Tables of benchmarks as CSV (full precision), LaTeX (booktabs) and Markdown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from repro.configuration.published import PublishedRows
from repro.reports.tables.columns import NONE, Columns
from repro.reports.tables.frame import MEASURED, PUBLISHED, beside_frame, notes, paper_frame, tidy_frame
from repro.reports.tables.printed import FACTS
from repro.reports.tables.sheet import FORMATS, Column, Sheet, number, save
from repro.runs.plan import Plan
from repro.runs.status import CellStatus


def write_report(
    plan: Plan,
    cells: Sequence[CellStatus],
    folder: Path,
    formats: Sequence[str] = FORMATS,
    columns: Columns = NONE,
    published: Callable[[str], PublishedRows] = lambda form: "ours",
) -> list[Path]:
    """Write <table>.csv, <table>_cells.csv, <table>.tex and <table>.md into ``folder``; returns their paths.

    ``published`` says for a format which rows of papers it has.
    """
    texts: dict[str, Callable[[], str]] = {
        form: partial(table_text, plan, cells, form, columns, published(form)) for form in FORMATS
    }
    texts["cells"] = lambda: tidy_frame(plan, cells, columns).to_csv(index=False)
    return save(folder, plan.table.name, texts, formats)


def table_text(
    plan: Plan,
    cells: Sequence[CellStatus],
    form: str,
    columns: Columns = NONE,
    published: PublishedRows = "ours",
) -> str:
    """Return the table as ``csv``, ``latex`` or ``md``, with published values in rows or in columns as it says."""
    remarks = notes(plan, cells, published)
    if columns.intervals:
        remarks.append("In brackets: 95 % intervals over images, with several seeds over seeds and images.")
    if plan.table.layout == "columns":
        frame = beside_frame(plan, cells, columns, published)
        if form == "csv":
            frame.insert(0, "profile", plan.profile.name)
            frame.insert(1, "metric", plan.table.metric)
            return frame.to_csv(index=False)
        sheet = beside_sheet(plan, frame, remarks)
    else:
        frame = paper_frame(plan, cells, columns, published)
        if form == "csv":
            return csv_text(plan, frame)
        sheet = paper_sheet(plan, frame, remarks)
        if form == "md":  # where the title says the profile
            sheet = dataclasses.replace(sheet, caption=f"{plan.table.caption}.")
    return sheet.latex() if form == "latex" else sheet.markdown()


def beside_sheet(plan: Plan, frame: pd.DataFrame, remarks: Sequence[str]) -> Sheet:
    """Return measured, published and (where comparable) difference as groups of columns."""
    measured = f"measured, {plan.profile.name}"
    ids = [b.id for b in plan.benchmarks]
    columns = [Column("method", "Method"), Column("tower", "VLM"), Column("seeds", "Seeds", right=True)]
    columns += [Column(b, b, measured, right=True) for b in ids]
    beside = [b for b in ids if f"{b} published" in frame.columns]
    columns += [Column(f"{b} published", b, "published", right=True) for b in beside]
    if plan.profile.comparable and beside:
        columns += [Column(f"{b} difference", b, "difference", right=True) for b in ids]
    rows = []
    for r in frame.to_dict("records"):
        row = {"method": r["method"], "tower": r["tower"], "seeds": str(r["seeds"])}
        row |= {b: _with_sd(r, b) for b in ids}
        row |= {f"{b} published": number(r[f"{b} published"], 1) for b in beside}
        row |= {f"{b} difference": number(r.get(f"{b} difference"), 1, signed=True) for b in ids}
        rows.append(row)
    return Sheet.of(plan, columns, rows, remarks)


def csv_text(plan: Plan, frame: pd.DataFrame) -> str:
    """Return the printed table in full precision, with profile and metric in every row."""
    out = frame.copy()
    out.insert(0, "profile", [plan.profile.name if s != PUBLISHED else "" for s in out["source"]])
    out.insert(1, "metric", [plan.table.metric if s != PUBLISHED else "mIoU as printed" for s in out["source"]])
    return out.to_csv(index=False)


def _with_sd(row: Mapping[Any, Any], benchmark: str) -> str:
    """Return ``12.3``; ``12.3 ± 0.4`` where there are several seeds; ``12.3 [11.6, 13.1]`` where it has an interval."""
    mean, sd = row[benchmark], row.get(f"{benchmark} sd")
    low, high = row.get(f"{benchmark} low"), row.get(f"{benchmark} high")
    text = number(mean, 1)
    if sd is not None and not pd.isna(sd):
        text += f" ± {sd:.1f}"
    if low is not None and high is not None and not pd.isna(low):
        text += f" [{low:.1f}, {high:.1f}]"
    return text


def paper_sheet(plan: Plan, frame: pd.DataFrame, remarks: Sequence[str]) -> Sheet:
    """Return the table as papers print it: one decimal, published rows in italics, some space between towers."""
    ids = [b.id for b in plan.benchmarks]
    facts = {name: heading for name, heading in FACTS.items() if name in frame.columns}
    columns = [Column("method", "Method"), Column("tower", "VLM")]
    columns += [*(Column(name, heading) for name, heading in facts.items()), Column("source", "Source")]
    columns += [Column("seeds", "Seeds", right=True, aside=True), *(Column(b, b, right=True) for b in ids)]
    sources = {PUBLISHED: "published", MEASURED: f"measured, {plan.profile.name}"}
    records = frame.to_dict("records")
    rows = [
        {
            **{k: "" if pd.isna(r[k]) else r[k] for k in ("method", "tower", *facts)},
            "source": sources[r["source"]],
            "seeds": "" if pd.isna(r["seeds"]) else str(r["seeds"]),
            **{b: _with_sd(r, b) for b in ids},
        }
        for r in records
    ]
    italic = {i for i, r in enumerate(records) if r["source"] == PUBLISHED}
    apart = {i for i in range(1, len(rows)) if i not in italic and rows[i]["tower"] != rows[i - 1]["tower"]}
    wide = bool(facts) or any(c.endswith((" sd", " low")) for c in frame.columns)
    return Sheet.of(plan, columns, rows, remarks, italic=italic, apart=apart, wide=wide)
