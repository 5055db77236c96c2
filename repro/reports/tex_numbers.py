"""``numbers.tex``: one ``\\newcommand`` a number, so that a paper's text quotes results by name and never by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from repro.experiments.cost_table import CostStatus
from repro.experiments.map_table import MapStatus
from repro.experiments.plan import Plan
from repro.experiments.region_table import RegionStatus
from repro.files import write_text
from repro.reports.cost import DIGITS
from repro.reports.evidence import Evidence
from repro.reports.published import find_published

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
    """The words as one name of letters: ``("table1", "disa-base", "A-150")`` is ``TableOneDisaBaseAOneFiveZero``."""
    parts = re.findall(r"[A-Za-z]+|\d", " ".join(words))
    return "".join(_DIGITS[int(p)] if p.isdigit() else p[0].upper() + p[1:] for p in parts)


def table_numbers(evidence: Evidence, against: str | None = None) -> Iterator[Number]:
    """The numbers of a table of benchmarks, percent with one decimal.

    Each cell: its mean over seeds, ``Sd``, ``Low`` and ``High`` of its 95 % interval, ``Published``; and minus the
    baseline (the row ``against``, see Evidence.baseline) ``Gain``, ``GainLow``, ``GainHigh`` and ``GainP``, corrected
    over the benchmarks.
    """
    plan = evidence.plan
    baseline = evidence.baseline(against).id if evidence.finished() else None
    for row in evidence.rows:
        family = evidence.family(row.id, baseline) if baseline and baseline != row.id else {}
        for b in plan.benchmarks:
            name, entry = macro_name(plan.table.name, row.id, b.id), evidence.entry(row.id, b.id)
            source = ", ".join(c.cell.run.id for c in entry.cells.values()) if entry else "not computed"
            yield name, _percent(entry.result[0].value if entry else None), source
            if len(row.runs) > 1:
                yield f"{name}Sd", _percent(entry.result[1].sd if entry else None), source
            yield f"{name}Low", _percent(entry.result[0].low if entry else None), source
            yield f"{name}High", _percent(entry.result[0].high if entry else None), source
            published = find_published(row.runs[0].row.published, b.id)
            if published:
                yield f"{name}Published", f"{published.value:.1f}", published.source
            if baseline and baseline != row.id:
                found, pair = family.get(b.id), f"minus {baseline}"
                d = found[0].difference if found else None
                yield f"{name}Gain", _percent(d.value if d else None, signed=True), pair
                yield f"{name}GainLow", _percent(d.low if d else None, signed=True), pair
                yield f"{name}GainHigh", _percent(d.high if d else None, signed=True), pair
                yield f"{name}GainP", _p(found[1] if found else None), f"{pair}, Holm over benchmarks"
    yield macro_name(plan.table.name, "profile"), plan.profile.name.replace("_", r"\_"), plan.profile.title
    yield macro_name(plan.table.name, "cells done"), str(sum(c.status == "done" for c in evidence.cells)), "cells"


def cost_numbers(plan: Plan, states: Sequence[CostStatus]) -> Iterator[Number]:
    """The numbers of a cost table with the decimals it prints: parameters (M), GFLOPs, seconds; measured, published."""
    for state in states:
        row, published = state.cell.run.row.id, state.published()
        for key, value in state.measured().items():
            name = macro_name(plan.table.name, row, key)
            text = MISSING if value is None else f"{value:,.{DIGITS[key]}f}"
            yield name, text, "timed" if key == "seconds" else "counted"
            printed = published[key]
            if printed is not None:
                yield f"{name}Published", f"{printed:,.{2 if key == 'seconds' else DIGITS[key]}f}", "published"


def region_numbers(plan: Plan, states: Sequence[RegionStatus]) -> Iterator[Number]:
    """The numbers of a region table: accuracies in percent by row, set, group and top-k; measured, published."""
    for state in states:
        published = state.published()
        for key, value in state.measured().items():
            name = macro_name(plan.table.name, state.cell.run.row.id, state.cell.source.id, key)
            yield name, _percent(value), state.cell.run.id
            printed = published[key]
            if printed is not None:
                yield f"{name}Published", f"{printed:.1f}", "published"


def map_numbers(plan: Plan, states: Sequence[MapStatus]) -> Iterator[Number]:
    """The figures of a map table in percent by row, seed and benchmark, with the ends of their intervals."""
    for state in states:
        run = state.cell.cell.run
        for key, value in state.values().items():
            name = macro_name(plan.table.name, run.row.id, f"s{run.seed}", state.cell.cell.benchmark.id, key)
            for suffix, number in zip(("", "Low", "High"), value or (None, None, None), strict=True):
                yield f"{name}{suffix}", _percent(number), run.id


def _percent(fraction: float | None, *, signed: bool = False) -> str:
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
    sections = _sections(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sections[table] = "\n".join(lines)
    body = "".join(f"\n%% {name}\n{sections[name]}\n%% end\n" for name in sorted(sections))
    write_text(path, _HEAD + body)
    return path


def _sections(text: str) -> dict[str, str]:
    return {m["name"]: m["body"] for m in re.finditer(r"^%% (?P<name>\S+)\n(?P<body>.*?)\n%% end$", text, re.M | re.S)}
