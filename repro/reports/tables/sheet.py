"""One table of strings with groups of columns, as Markdown and as LaTeX; and how files of a table are named."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from repro.files import read_json, write_text
from repro.runs.plan import Plan
from repro.runs.status import BLOCKED, DONE

FORMATS = ("csv", "latex", "md")
_FILES = {"csv": [("csv", ".csv"), ("cells", "_cells.csv")], "latex": [("latex", ".tex")], "md": [("md", ".md")]}
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
    "±": r"$\pm$",
}


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: the key of its values, its heading, and the heading of the group of neighbours it belongs to.

    One that is an ``aside`` is left out of LaTeX, and its gaps stay empty.
    """

    key: str
    heading: str
    group: str = ""
    right: bool = False
    aside: bool = False


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table ready to print. ``rows`` map column keys to text; a value that is absent or empty prints as a gap.

    In LaTeX, rows whose number is in ``italic`` are set so, and those in ``apart`` have some space before them; a table
    that is not ``wide`` stands in one column of the page, as it is.
    """

    title: str
    caption: str
    label: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, str]]
    remarks: Sequence[str]
    italic: Collection[int] = ()
    apart: Collection[int] = ()
    wide: bool = True

    @classmethod
    def of(
        cls,
        plan: Plan,
        columns: Sequence[Column],
        rows: Sequence[Mapping[str, str]],
        remarks: Sequence[str],
        **look: Any,
    ) -> Sheet:
        """Return the sheet of the table of ``plan``, which names its profile."""
        title = f"{plan.table.title} (profile {plan.profile.name})"
        caption = f"{plan.table.caption}. Profile {plan.profile.name}."
        return cls(title, caption, f"tab:{plan.table.name}-{plan.profile.name}", columns, rows, remarks, **look)

    def markdown(self) -> str:
        """Return a Markdown document: title, caption, table, remarks."""
        head = [f"{c.heading} ({c.group})" if c.group else c.heading for c in self.columns]
        rule = ["--:" if c.right else ":--" for c in self.columns]
        body = [[row.get(c.key) or "-" * (not c.aside) for c in self.columns] for row in self.rows]
        lines = [f"# {self.title}", "", self.caption, ""]
        lines += ["| " + " | ".join(cells) + " |" for cells in [head, rule, *body]]
        return "\n".join([*lines, "", *(f"- {r}" for r in self.remarks), ""])

    def latex(self) -> str:
        """Return a booktabs table environment; needs the package booktabs, a ``wide`` one graphicx as well."""
        star, graphics = "*" * self.wide, ",graphicx" * self.wide
        columns = [c for c in self.columns if not c.aside]
        lines = [
            f"% Needs \\usepackage{{booktabs{graphics}}}.",
            f"\\begin{{table{star}}}[t]",
            "\\centering",
            f"\\caption{{{escape(self.caption)}}}",
            f"\\label{{{self.label}}}",
            *["\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%"] * self.wide,
            "\\begin{tabular}{" + "".join("r" if c.right else "l" for c in columns) + "}",
            "\\toprule",
            *self._group_lines(),
            " & ".join(escape(c.heading) for c in columns) + " \\\\",
            "\\midrule",
        ]
        for number, row in enumerate(self.rows):
            cells = [escape(row.get(c.key) or "--") for c in columns]
            cells = [f"\\textit{{{c}}}" for c in cells] if number in self.italic else cells
            lines += ["\\addlinespace"] * (number in self.apart) + [" & ".join(cells) + " \\\\"]
        lines += [
            "\\bottomrule",
            "\\end{tabular}" + "}" * self.wide,
            "\\par\\smallskip",
            "\\begin{minipage}{\\linewidth}\\footnotesize",
            *(escape(r.replace("`", "")) for r in self.remarks),
            "\\end{minipage}",
            f"\\end{{table{star}}}",
            "",
        ]
        return "\n".join(lines)

    def _group_lines(self) -> list[str]:
        if not any(c.group for c in self.columns):
            return []
        heads, rules, first = [], [], 1
        for group, members in groupby(self.columns, key=lambda c: c.group):
            count = len(list(members))
            heads.append(f"\\multicolumn{{{count}}}{{c}}{{{escape(group)}}}")
            if group:
                rules.append(f"\\cmidrule(lr){{{first}-{first + count - 1}}}")
            first += count
        return [" & ".join(heads) + " \\\\", "".join(rules)]


def table_remarks(plan: Plan) -> list[str]:
    """Return what the table says of itself and of the rows that are shown."""
    return list(dict.fromkeys([*plan.table.remarks, *(text for run in plan.runs for text in run.row.remarks)]))


def plan_remarks(plan: Plan) -> list[str]:
    """Return what the table says of itself, and how what was trained was tuned."""
    tuned = plan.profile.tuned if any(run.train for run in plan.runs) else ""
    changes = f"Changed for this table (--set): {', '.join(plan.profile.changes)}." if plan.profile.changes else ""
    return [*table_remarks(plan), *filter(None, [tuned and f"Tuning: {tuned}.", changes])]


def hardware_remark(records: Iterable[Path]) -> list[str]:
    """Name the machines that ``records``, JSON with a process's provenance, were made on; files may be absent."""
    found = [read_json(path).get("hardware") for path in records if path.is_file()]
    names = {h.get("gpu") or f"{h['cpu']}, {h['cores']} cores" for h in found if h}
    return [hardware_line(names)] if names else []


def hardware_line(names: Iterable[str]) -> str:
    """Return the line under a table that names machines."""
    return f"Hardware: {'; '.join(sorted(names)) or 'none yet'}."


def unfinished(states: Sequence[str], words: str) -> list[str]:
    """Return a line that counts the states that are not done, and those of them that wait; none where all are."""
    left, blocked = len(states) - states.count(DONE), states.count(BLOCKED)
    return [f"{left} of {len(states)} {words}, {blocked} of them wait for data or weights."] if left else []


def number(value: float | None, digits: int, *, signed: bool = False) -> str:
    """Write ``value`` with ``digits`` decimals and thousands separators, empty where there is none."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"


def over_seeds(fractions: Sequence[float]) -> str:
    """Write the mean in percent, of several seeds with their sample standard deviation; empty where there is none."""
    if not fractions:
        return ""
    spread = f" ± {100 * statistics.stdev(fractions):.1f}" if len(fractions) > 1 else ""
    return number(100 * statistics.fmean(fractions), 1) + spread


def escape(text: str) -> str:
    """Return ``text`` with LaTeX's special characters escaped."""
    return "".join(_LATEX_SPECIALS.get(c, c) for c in text)


def save(folder: Path, name: str, texts: Mapping[str, Callable[[], str]], formats: Sequence[str]) -> list[Path]:
    """Write the ``formats`` of table ``name``; ``texts`` makes ``csv``, ``cells`` (tidy CSV), ``latex`` and ``md``."""
    written = []
    for form in FORMATS:
        for key, ending in _FILES[form] if form in formats else []:
            if key in texts:
                path = folder / f"{name}{ending}"
                write_text(path, texts[key]())
                written.append(path)
    return written
