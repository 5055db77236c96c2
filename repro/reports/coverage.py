"""Every table, figure and numeric claim of the papers: the command that makes it again, and how far that has come.

The items of a paper are a file in ``results/coverage``. What was measured is not written there: it is read off the
committed results in ``results/measured``.
"""

from __future__ import annotations

import csv
import dataclasses
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from repro.configuration.published import printed_rows
from repro.errors import known_as
from repro.paths import COVERAGE, MEASURED
from repro.runs.status import DONE

MADE, UNMEASURED, PLANNED, OUTSIDE = "measured", "unmeasured", "planned", "outside"
WORDS = {
    MADE: "results of the command are committed, of the profile named",
    UNMEASURED: "a command makes it; no result of it is committed",
    PLANNED: "not made yet, or not as the paper prints it",
    OUTSIDE: "outside this project",
}
"""The states and what they mean."""
DRAWN = "figures.csv"
"""Drawings that are kept beside the documentation, by ``figure``: command, file, what they were drawn of."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Committed results of an item: of ``profile``, ``done`` of ``of`` numbers or rows, in ``file`` of that folder.

    Drawings are listed in :data:`DRAWN`.
    """

    profile: str
    done: int
    of: int
    file: str


@dataclasses.dataclass(frozen=True)
class Item:
    """A table, figure or claim: its ``name`` as the specification has it, ``what`` it says, the ``command``.

    ``result`` is the table, or the figure, whose results are its own where the command does not name it, ``rows`` the
    ids of the rows that count (empty: all). ``planned`` says what is missing, ``outside`` why it is no matter of this
    project, ``note`` what the command leaves out.
    """

    name: str
    what: str
    command: str = ""
    result: str = ""
    rows: Sequence[str] = ()
    planned: str = ""
    outside: str = ""
    note: str = ""

    @property
    def state(self) -> str:
        """One of :data:`WORDS`."""
        if self.outside:
            return OUTSIDE
        if self.planned:
            return PLANNED
        return MADE if any(m.done for m in self.measured) else UNMEASURED

    @property
    def table(self) -> str:
        """The table whose results are this item's, empty where there is none."""
        verb, *words = shlex.split(self.command)[1:] or [""]
        if self.result or verb not in ("run", "report", "compare") or not words:
            return self.result
        return words[0].partition(":")[0]

    @property
    def measured(self) -> list[Measured]:
        """What is committed of it, by profile."""
        return list(_measured(self.table, tuple(self.rows))) if self.table else []


@dataclasses.dataclass(frozen=True)
class Paper:
    """A paper as ``results/published.csv`` calls it, and its items."""

    id: str
    paper: str
    items: Sequence[Item]

    def published(self, item: Item) -> int:
        """Count the published values of ``item`` that ``results/published.csv`` holds."""
        return sum(len(r.values) for r in printed_rows({"paper": self.paper, "table": item.name}))

    def to_json(self) -> list[dict[str, Any]]:
        """Return an object for each item; the keys are documented in docs/json.md."""
        return [
            {
                "paper": self.id,
                "title": self.paper,
                "item": item.name,
                "what": item.what,
                "state": item.state,
                "command": item.command or None,
                "measured": [dataclasses.asdict(m) for m in item.measured] if item.state == MADE else [],
                "published": self.published(item),
                "why": item.planned or item.outside or None,
                "note": item.note or None,
            }
            for item in self.items
        ]


@cache
def papers() -> dict[str, Paper]:
    """Return all papers by id."""
    found = {}
    for path in sorted(COVERAGE.glob("*.toml")):
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = Paper(path.stem, raw["paper"], [Item(**item) for item in raw["items"]])
    return found


def chosen_papers(name: str | None = None) -> list[Paper]:
    """Return the paper called ``name``, all where it is None; UsageError for an unknown one."""
    if name is None:
        return list(papers().values())
    return [known_as("paper", name.casefold(), papers(), mend="repro coverage")]


def outside() -> dict[str, str]:
    """Return what of the papers is no matter of this project: ``PAPER, ITEM`` -> why."""
    return {f"{p.paper}, {i.name}": i.outside for p in papers().values() for i in p.items if i.outside}


@cache
def _measured(table: str, rows: tuple[str, ...]) -> Sequence[Measured]:
    found = []
    for folder in sorted(p for p in MEASURED.glob("*") if p.is_dir()):
        files = [folder / f"{table}{ending}" for ending in ("_cells.csv", ".csv")]
        path = next((f for f in files if f.is_file()), None)
        if path is not None:
            own = [r for r in _rows(path) if not rows or r.get("row") in rows]
            # The numbers of a figure have no status: they are written when all are there.
            found.append(Measured(folder.name, sum(r.get("status", DONE) == DONE for r in own), len(own), path.name))
        elif drawn := [r for r in _rows(folder / DRAWN) if r["figure"] == table]:
            found.append(Measured(folder.name, len(drawn), len(drawn), DRAWN))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# -- how it is shown --------------------------------------------------------------------------------------------------
def state_text(item: Item) -> str:
    """Say the state in a few words: ``measured: mini, 36 of 36``."""
    if item.state != MADE:
        return item.state
    shares = {m: "" if m.file == DRAWN else f", {m.done} of {m.of}" for m in item.measured if m.done}
    return "measured: " + "; ".join(f"{m.profile}{share}" for m, share in shares.items())


def coverage_lines(chosen: Sequence[Paper]) -> Iterator[str]:
    """Yield the coverage as text: a paper, its items, their commands and reasons."""
    for paper in chosen:
        yield f"{paper.paper} ({paper.id})"
        width = max(len(item.name) for item in paper.items)
        for item in paper.items:
            yield f"  {item.name:<{width}}  {state_text(item)}"
            margin = " " * (width + 4)
            yield f"{margin}{item.what}"
            yield from (f"{margin}{text}" for text in (item.command, *_reasons(item)) if text)
    yield ""
    yield from (f"{state}: {text}" for state, text in WORDS.items())


def _reasons(item: Item) -> Iterator[str]:
    if item.outside:
        yield item.outside
    if item.planned:
        yield f"planned: {item.planned}"
    if item.note:
        yield f"note: {item.note}"


PAGE_HEAD = """# Coverage

Every table, figure and numeric claim of the papers, the command that makes it again, and how far that has come. This
page is made by `repro coverage --page docs/coverage.md`; states are read off the committed results in
`results/measured`. Items are those of the specifications (`docs/specs`), their data are in `results/coverage`.
`published` counts the values in `results/published.csv`. Measured does not mean that a claim holds: verdicts are in
[what the miniature says](results-mini.md).

| state | |
|---|---|
"""


def coverage_page(chosen: Sequence[Paper]) -> str:
    """Return the page of the documentation."""
    lines = [f"| {state} | {text} |" for state, text in WORDS.items()]
    for paper in chosen:
        lines += ["", f"## {paper.paper}", "", "| item | what | published | state | command |", "|---|---|--:|---|---|"]
        for item in paper.items:
            what = ". ".join(_sentence(text) for text in (item.what, *_reasons(item)))
            published = paper.published(item) or ""
            command = f"`{item.command}`" if item.command else ""
            lines.append(f"| {item.name} | {what}. | {published} | {state_text(item)} | {command} |")
    return PAGE_HEAD + "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def write_coverage(path: Path) -> None:
    """Write the page of all papers to ``path``; ResourceError where that cannot be."""
    from repro.files import write_text

    write_text(path, coverage_page(chosen_papers()))
