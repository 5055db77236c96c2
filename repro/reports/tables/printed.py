"""Rows of papers around measured ones: the order they stand in, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from repro.configuration.published import PrintedRow, Published, PublishedRows, printed_rows
from repro.configuration.tables import Row
from repro.runs.plan import Plan

FACTS = {"feature_backbone": "Backbone", "train_set": "Training set", "extra_data": "Additional data"}
"""Columns of ``results/published.csv`` that a table with all rows of its paper prints, and their headings."""


def shown_rows(plan: Plan, published: PublishedRows) -> list[PrintedRow]:
    """Return the rows of the paper's table that the table of ``plan`` repeats; none but where all are wanted."""
    return printed_rows(plan.table.printed) if published == "all" else []


def rows_on(plan: Plan, published: PublishedRows) -> list[PrintedRow]:
    """Return those of :func:`shown_rows` with a value on one of the benchmarks of ``plan``."""
    return [p for p in shown_rows(plan, published) if any(p.value(b.id) is not None for b in plan.benchmarks)]


def around(rows: Sequence[Row], printed: Sequence[PrintedRow]) -> Iterator[tuple[list[PrintedRow], Row | None]]:
    """Yield each of ``rows`` with what the paper prints above it and below the row of ours before.

    Rows of ours keep their order. The last pair has no row and holds what is printed below all of them.
    """
    above: dict[int, list[PrintedRow]] = {}
    waiting: list[PrintedRow] = []
    for p in printed:
        place = next((n for n, row in enumerate(rows) if p.belongs_to(row.published)), None)
        if place is None:
            waiting.append(p)
        else:
            above.setdefault(place, []).extend(waiting)
            waiting = []
    for n, row in enumerate(rows):
        yield above.get(n, []), row
    yield waiting, None


def printed_of(row: Row) -> PrintedRow | None:
    """Return the printed row that belongs to ``row``, of whatever table, None where nothing is published."""
    return next(iter(printed_rows({k: v for k, v in row.published.items() if k != "benchmarks"})), None)


def printed_sources(printed: Sequence[PrintedRow]) -> list[str]:
    """Say which table ``printed`` is from, with the mIoU conventions that its values of mIoU follow."""
    found = [p for row in printed for p in row.values.values()]
    return list(dict.fromkeys(source_text(p) for p in found))


def source_text(printed: Published) -> str:
    """Name the table of a published number, of mIoU its convention too."""
    convention = f" (mIoU convention: {printed.convention})" if printed.metric == "mIoU_percent" else ""
    return f"{printed.source}{convention}"


def printed_notes(printed: Sequence[PrintedRow]) -> list[str]:
    """Return what is to be said of printed rows, one line for all rows of which the same is said."""
    said: dict[str, list[str]] = {}
    for row in printed:
        for note in row.notes:
            said.setdefault(note, []).append(", ".join(filter(None, (row.title, row.vlm, row.columns["train_set"]))))
    every = len(printed)
    return [
        f"Published, {'all rows' if len(rows) == every else '; '.join(rows)}: {note}." for note, rows in said.items()
    ]
