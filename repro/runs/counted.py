"""Counts of operations and memory that follow from a recipe, kept so that a plan is shown without torch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from repro.errors import ReproError
from repro.files import read_json, write_json
from repro.hashing import digest
from repro.runs.addresses.judging import timed
from repro.runs.plan import Run

T = TypeVar("T")


def counted(run: Run, root: str, asked: Mapping[str, Any], kind: type[T], count: Callable[[], T]) -> T:
    """Return what ``count`` gives, a dataclass ``kind`` of plain values, counted once per recipe and state of the code.

    ``root`` is the function that counts, ``asked`` what it is told besides the method, its options and its tower. A
    kept count that cannot be read is counted again. Nothing is kept where the store cannot be written.
    """
    plan = run.profile.towers[run.row.tower]
    facts = {
        "method": run.entry.name,
        "options": dataclasses.asdict(run.options),
        "tower": [dataclasses.asdict(plan.spec), dict(plan.recipe)],
        "asked": dict(asked),
        "code": run.assets.code.source(timed(run, root)).digest,
    }
    path = run.assets.store.cache / "counts" / f"{run.entry.name}-{digest(facts, 16)}.json"
    try:
        return kind(**read_json(path))
    except (OSError, TypeError, ReproError):
        found = count()
    with contextlib.suppress(OSError, ReproError):
        write_json(path, dataclasses.asdict(found))  # type: ignore[call-overload]
    return found
