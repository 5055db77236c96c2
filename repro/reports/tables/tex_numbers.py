"""``numbers.tex``: one ``\\newcommand`` per number, so that a paper's text quotes results by name and never by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from repro.configuration.published import find_published
from repro.files import write_text

if TYPE_CHECKING:
    from repro.reports.tables.evidence import Evidence

FILE = "numbers.tex"
MISSING = r"\textbf{??}"
"""What a number that is not computed prints, as LaTeX does for an unknown reference."""
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_HEAD = (
    "% Written by `repro report`. \\input this file in the preamble; names and digits: docs/reports.md.\n"
    "% A number that is not computed prints as ??; the comment behind a number names its run.\n"
)
Number = tuple[str, str, str]
"""Name of the macro, its text, and where it comes from."""


def macro_name(*words: str) -> str:
    """Return the words as one name: ``("table1", "disa-base", "A-150")`` is ``TableOneDisaBaseAOneFiveZero``."""
    parts = re.findall(r"[A-Za-z]+|\d", re.sub(r"=-(?=\d)", " minus ", " ".join(words)))
    return "".join(_DIGITS[int(p)] if p.isdigit() else p[0].upper() + p[1:] for p in parts)


def table_numbers(evidence: Evidence, against: str | None = None) -> Iterator[Number]:
    """Yield the numbers of a table of benchmarks, percent with one decimal.

    Each cell: its mean over seeds, ``Sd``, ``Low`` and ``High`` of its 95 % interval, ``Published``; and minus the
    baseline (the row ``against``) ``Gain``, ``GainLow``, ``GainHigh`` and ``GainP``, corrected over benchmarks.
    """
    plan = evidence.plan
    baseline = evidence.baseline(against).id if evidence.finished() else None
    for row in evidence.rows:
        family = evidence.family(row.id, baseline) if baseline and baseline != row.id else {}
        for b in plan.benchmarks:
            name, entry = macro_name(plan.table.name, row.id, b.id), evidence.entry(row.id, b.id)
            source = ", ".join(c.cell.run.id for c in entry.cells.values()) if entry else "not computed"
            yield name, percent(entry.result[0].value if entry else None), source
            if len(row.runs) > 1:
                yield f"{name}Sd", percent(entry.result[1].sd if entry else None), source
            yield f"{name}Low", percent(entry.result[0].low if entry else None), source
            yield f"{name}High", percent(entry.result[0].high if entry else None), source
            published = find_published(row.runs[0].row.published, b.id)
            if published:
                yield f"{name}Published", f"{published.value:.1f}", published.source
            if baseline and baseline != row.id:
                found, pair = family.get(b.id), f"minus {baseline}"
                d = found[0].difference if found else None
                yield f"{name}Gain", percent(d.value if d else None, signed=True), pair
                yield f"{name}GainLow", percent(d.low if d else None, signed=True), pair
                yield f"{name}GainHigh", percent(d.high if d else None, signed=True), pair
                yield f"{name}GainP", _p(found[1] if found else None), f"{pair}, Holm over benchmarks"
    yield macro_name(plan.table.name, "profile"), plan.profile.name.replace("_", r"\_"), plan.profile.title
    yield macro_name(plan.table.name, "cells done"), str(sum(c.status == "done" for c in evidence.cells)), "cells"


def percent(fraction: float | None, *, signed: bool = False) -> str:
    """Print a fraction as percent with one decimal, for LaTeX."""
    if fraction is None or fraction != fraction:
        return MISSING
    text = f"{100 * fraction:+.1f}" if signed else f"{100 * fraction:.1f}"
    return text.replace("-", r"\ensuremath{-}").replace("+", r"\ensuremath{+}")


def _p(p: float | None) -> str:
    if p is None or p != p:
        return MISSING
    return r"\ensuremath{<}0.001" if p < 0.001 else f"{p:.3f}"


def write_numbers(folder: Path, table: str, numbers: Iterator[Number]) -> Path:
    """Write the section of ``table`` into ``folder``/numbers.tex; sections of other tables stay as they are.

    Raises ValueError where two numbers would have one name.
    """
    path = folder / FILE
    lines, known = [], set()
    for name, text, source in numbers:
        if name in known:
            raise ValueError(f"two numbers of {table} are called \\{name}")
        known.add(name)
        lines.append(f"\\newcommand{{\\{name}}}{{{text}}} % {source}")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    sections = dict(re.findall(r"^%% (\S+)\n(.*?)\n%% end$", text, re.M | re.S))
    sections[table] = "\n".join(lines)
    body = "".join(f"\n%% {name}\n{sections[name]}\n%% end\n" for name in sorted(sections))
    write_text(path, _HEAD + body)
    return path
