"""Rows of a table that gave the same numbers to the last digit: what is varied between them changes nothing.

An option that a method does not read, or reads only together with another, makes an ablation that looks like a result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from repro.hashing import plain
from repro.runs.plan import Run
from repro.runs.status import CellStatus

Numbers = dict[tuple[int, str], tuple[Any, ...]]
"""All measures of a row's trainings, by seed and benchmark."""


def without_effect(cells: Sequence[CellStatus], measures: Sequence[str]) -> list[str]:
    """Return a line for each trained row that equals an earlier one of its method in all ``measures``: what differs.

    Compared are the seeds and benchmarks that both have; one is enough, since the measures are sums over all pixels.
    """
    found: dict[str, tuple[Run, Numbers]] = {}
    for cell in cells:
        run, metrics = cell.cell.run, cell.metrics or {}
        values = tuple(metrics.get(name) for name in measures)
        if run.train and cell.countable and None not in values:
            found.setdefault(run.row.id, (run, {}))[1][run.seed, cell.cell.benchmark.id] = values
    rows, lines = list(found.values()), []
    for place, (run, numbers) in enumerate(rows):
        for earlier, theirs in rows[:place]:
            shared = numbers.keys() & theirs.keys()
            same = run.entry.name == earlier.entry.name and run.address != earlier.address
            if same and shared and all(numbers[key] == theirs[key] for key in shared):
                benchmarks = len({benchmark for _, benchmark in shared})
                lines.append(
                    f"{run.row.title} gave the numbers of {earlier.row.title} to the last digit on {benchmarks} "
                    f"benchmark{'s' * (benchmarks > 1)}: {_differing(earlier, run)} changed nothing."
                )
                break
    return lines


def _differing(first: Run, second: Run) -> str:
    a, b = (plain(dataclasses.asdict(run.options)) for run in (first, second))
    names = [f"{name} {_word(b[name])} in place of {_word(a[name])}" for name in b if a[name] != b[name]]
    if first.row.tower != second.row.tower:
        names.append(f"{second.tower.title} in place of {first.tower.title}")
    return ", ".join(names) or "what differs between them"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
