"""Tables of benchmarks as CSV (full precision), LaTeX (booktabs) and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from repro.reports.tables.columns import NONE, Columns
from repro.reports.tables.frame import PUBLISHED, beside_frame, notes, paper_frame, tidy_frame
from repro.reports.tables.sheet import FORMATS, Column, Sheet, escape, number, save
from repro.runs.plan import Plan
from repro.runs.status import CellStatus


def write_report(
    plan: Plan,
    cells: Sequence[CellStatus],
    folder: Path,
    formats: Sequence[str] = FORMATS,
    columns: Columns = NONE,
) -> list[Path]:
    """Write <table>.csv, <table>_cells.csv, <table>.tex and <table>.md into ``folder``; returns their paths."""
    texts = {
        "csv": lambda: table_text(plan, cells, "csv", columns),
        "cells": lambda: tidy_frame(plan, cells, columns).to_csv(index=False),
    }
    texts |= {
        "latex": lambda: table_text(plan, cells, "latex", columns),
        "md": lambda: table_text(plan, cells, "md", columns),
    }
    return save(folder, plan.table.name, texts, formats)


def table_text(plan: Plan, cells: Sequence[CellStatus], form: str, columns: Columns = NONE) -> str:
    """Return the table as ``csv``, ``latex`` or ``md``, with published values in rows or in columns as it says."""
    remarks = notes(plan, cells)
    if columns.intervals:
        remarks.append("In brackets: 95 % intervals over images, with several seeds over seeds and images.")
    if plan.table.layout == "columns":
        frame = beside_frame(plan, cells, columns)
        if form == "csv":
            frame.insert(0, "profile", plan.profile.name)
            frame.insert(1, "metric", plan.table.metric)
            return frame.to_csv(index=False)
        sheet = beside_sheet(plan, frame, remarks)
        return sheet.latex() if form == "latex" else sheet.markdown()
    frame = paper_frame(plan, cells, columns)
    if form == "csv":
        return csv_text(plan, frame)
    return latex_text(plan, frame, remarks) if form == "latex" else markdown_text(plan, frame, remarks)


def beside_sheet(plan: Plan, frame: pd.DataFrame, remarks: Sequence[str]) -> Sheet:
    """Return measured, published and (where comparable) difference as groups of columns."""
    measured = f"measured, {plan.profile.name}"
    ids = [b.id for b in plan.benchmarks]
    columns = [Column("method", "Method"), Column("tower", "VLM"), Column("seeds", "Seeds", right=True)]
    columns += [Column(b, b, measured, right=True) for b in ids]
    columns += [Column(f"{b} published", b, "published", right=True) for b in ids]
    if plan.profile.comparable:
        columns += [Column(f"{b} difference", b, "difference", right=True) for b in ids]
    rows = []
    for r in frame.to_dict("records"):
        row = {"method": r["method"], "tower": r["tower"], "seeds": str(r["seeds"])}
        row |= {b: _with_sd(r, b) for b in ids}
        row |= {f"{b} published": number(r[f"{b} published"], 1) for b in ids}
        row |= {f"{b} difference": number(r.get(f"{b} difference"), 1, signed=True) for b in ids}
        rows.append(row)
    return Sheet.of(plan, columns, rows, remarks)


def csv_text(plan: Plan, frame: pd.DataFrame) -> str:
    """Return the printed table in full precision, with profile and metric in every row."""
    out = frame.copy()
    out.insert(0, "profile", [plan.profile.name if s != PUBLISHED else "" for s in out["source"]])
    out.insert(1, "metric", [plan.table.metric if s != PUBLISHED else "mIoU as printed" for s in out["source"]])
    return out.to_csv(index=False)


def _display(frame: pd.DataFrame, benchmarks: Sequence[str], gap: str) -> pd.DataFrame:
    """Return strings as they are printed: one decimal, as the papers do; ``gap`` where there is no number."""
    out = frame.copy()
    for b in benchmarks:
        out[b] = [_with_sd(r, b, gap) for r in frame.to_dict("records")]
    out["seeds"] = ["" if pd.isna(v) else str(v) for v in frame["seeds"]]
    return out


def _with_sd(row: Mapping[Any, Any], benchmark: str, gap: str = "") -> str:
    """Return ``12.3``; ``12.3 ± 0.4`` where there are several seeds; ``12.3 [11.6, 13.1]`` where it has an interval."""
    mean, sd = row[benchmark], row.get(f"{benchmark} sd")
    low, high = row.get(f"{benchmark} low"), row.get(f"{benchmark} high")
    text = number(mean, 1) or gap
    if sd is not None and not pd.isna(sd):
        text += f" ± {sd:.1f}"
    if low is not None and high is not None and not pd.isna(low):
        text += f" [{low:.1f}, {high:.1f}]"
    return text


def markdown_text(plan: Plan, frame: pd.DataFrame, remarks: Sequence[str]) -> str:
    """Return a Markdown document: caption, table, notes."""
    benchmarks = [b.id for b in plan.benchmarks]
    shown = _display(frame, benchmarks, "-")
    head = ["Method", "VLM", "Source", "Seeds", *benchmarks]
    rule = [":--"] * 3 + ["--:"] * (len(head) - 3)
    rows = [
        [r["method"], r["tower"], _source_label(plan, r["source"]), r["seeds"], *(r[b] for b in benchmarks)]
        for r in shown.to_dict("records")
    ]
    lines = [f"# {plan.table.title} (profile {plan.profile.name})", "", f"{plan.table.caption}.", ""]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in [head, rule, *rows]]
    return "\n".join([*lines, "", *(f"- {r}" for r in remarks), ""])


def _source_label(plan: Plan, source: str) -> str:
    return "published" if source == PUBLISHED else f"measured, {plan.profile.name}"


def latex_text(plan: Plan, frame: pd.DataFrame, remarks: Sequence[str]) -> str:
    """Return a booktabs table environment. Published rows are set in italics.

    Needs ``\\usepackage{booktabs}``; with deviations or intervals it spans both columns and needs graphicx as well.
    """
    benchmarks = [b.id for b in plan.benchmarks]
    shown = _display(frame, benchmarks, "--")
    wide = any(c.endswith((" sd", " low")) for c in frame.columns)
    environment = "table*" if wide else "table"
    lines = [
        f"% Needs \\usepackage{{booktabs{',graphicx' if wide else ''}}}.",
        f"\\begin{{{environment}}}[t]",
        "\\centering",
        f"\\caption{{{escape(plan.table.caption)}. Profile {escape(plan.profile.name)}.}}",
        f"\\label{{tab:{plan.table.name}-{plan.profile.name}}}",
        *(["\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%"] if wide else []),
        "\\begin{tabular}{lll" + "r" * len(benchmarks) + "}",
        "\\toprule",
        " & ".join(["Method", "VLM", "Source", *map(escape, benchmarks)]) + " \\\\",
        "\\midrule",
    ]
    previous = None
    for r in shown.to_dict("records"):
        cells = [escape(r["method"]), escape(r["tower"]), escape(_source_label(plan, r["source"]))]
        cells += [str(r[b]).replace("±", "$\\pm$") for b in benchmarks]
        if r["source"] == PUBLISHED:
            cells = [f"\\textit{{{c}}}" for c in cells]
        elif previous is not None and previous != r["tower"]:
            lines.append("\\addlinespace")
        lines.append(" & ".join(cells) + " \\\\")
        previous = r["tower"]
    lines += [
        "\\bottomrule",
        "\\end{tabular}" + "}" * wide,
        "\\par\\smallskip",
        "\\begin{minipage}{\\linewidth}\\footnotesize",
    ]
    lines += [escape(r.replace("`", "")) for r in remarks]
    return "\n".join([*lines, "\\end{minipage}", f"\\end{{{environment}}}", ""])
