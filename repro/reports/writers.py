"""Tables as CSV (full precision), LaTeX (booktabs) and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from repro.experiments.plan import Plan
from repro.experiments.status import CellStatus
from repro.files import write_text
from repro.reports.frame import PUBLISHED, notes, paper_frame, tidy_frame

FORMATS = ("csv", "latex", "md")
_LATEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def write_report(plan: Plan, cells: Sequence[CellStatus], folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write <table>.csv, <table>_cells.csv, <table>.tex and <table>.md into ``folder``; returns their paths."""
    frame, name = paper_frame(plan, cells), plan.table.name
    written = []
    if "csv" in formats:
        written.append(_write(folder / f"{name}.csv", csv_text(plan, frame)))
        written.append(_write(folder / f"{name}_cells.csv", tidy_frame(plan, cells).to_csv(index=False)))
    if "latex" in formats:
        written.append(_write(folder / f"{name}.tex", latex_text(plan, frame, notes(plan, cells))))
    if "md" in formats:
        written.append(_write(folder / f"{name}.md", markdown_text(plan, frame, notes(plan, cells))))
    return written


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


def csv_text(plan: Plan, frame: pd.DataFrame) -> str:
    """The printed table in full precision, with profile and metric in every row."""
    out = frame.copy()
    out.insert(0, "profile", [plan.profile.name if s != PUBLISHED else "" for s in out["source"]])
    out.insert(1, "metric", [plan.table.metric if s != PUBLISHED else "mIoU as printed" for s in out["source"]])
    return out.to_csv(index=False)


def _display(frame: pd.DataFrame, benchmarks: Sequence[str], gap: str) -> pd.DataFrame:
    """Strings as they are printed: one decimal, as the papers do; ``gap`` where there is no number."""
    out = frame.copy()
    for b in benchmarks:
        out[b] = [gap if pd.isna(v) else f"{v:.1f}" for v in frame[b]]
    out["seeds"] = ["" if pd.isna(v) else str(v) for v in frame["seeds"]]
    return out


def markdown_text(plan: Plan, frame: pd.DataFrame, remarks: Sequence[str]) -> str:
    """A Markdown document: caption, table, notes."""
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
    """A booktabs table environment; needs only ``\\usepackage{booktabs}``. Published rows are set in italics."""
    benchmarks = [b.id for b in plan.benchmarks]
    shown = _display(frame, benchmarks, "--")
    lines = [
        "% Needs \\usepackage{booktabs}.",
        "\\begin{table}[t]",
        "\\centering",
        f"\\caption{{{escape(plan.table.caption)}. Profile {escape(plan.profile.name)}.}}",
        f"\\label{{tab:{plan.table.name}-{plan.profile.name}}}",
        "\\begin{tabular}{lll" + "r" * len(benchmarks) + "}",
        "\\toprule",
        " & ".join(["Method", "VLM", "Source", *map(escape, benchmarks)]) + " \\\\",
        "\\midrule",
    ]
    previous = None
    for r in shown.to_dict("records"):
        cells = [escape(r["method"]), escape(r["tower"]), escape(_source_label(plan, r["source"]))]
        cells += [str(r[b]) for b in benchmarks]
        if r["source"] == PUBLISHED:
            cells = [f"\\textit{{{c}}}" for c in cells]
        elif previous is not None and previous != r["tower"]:
            lines.append("\\addlinespace")
        lines.append(" & ".join(cells) + " \\\\")
        previous = r["tower"]
    lines += ["\\bottomrule", "\\end{tabular}", "\\par\\smallskip", "\\begin{minipage}{\\linewidth}\\footnotesize"]
    lines += [escape(r.replace("`", "")) for r in remarks]
    return "\n".join([*lines, "\\end{minipage}", "\\end{table}", ""])


def escape(text: str) -> str:
    """``text`` with LaTeX's special characters escaped."""
    return "".join(_LATEX_SPECIALS.get(c, c) for c in text)
