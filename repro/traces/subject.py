"""A piece of work whose code is judged: where the code begins, and how its trace is taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from repro.announced import load

if TYPE_CHECKING:
    from repro.sources.trace import Trace


@dataclasses.dataclass(frozen=True)
class Subject:
    """A piece of work whose code is judged.

    ``what`` says it in words; ``roots`` are where its code begins (``"module:name"``); ``asked`` is what the trace is
    told, as JSON; ``take`` takes it (None: the source alone decides, as for measured times).
    """

    what: str
    roots: tuple[str, ...]
    asked: Any
    take: Callable[[], Trace] | None


def taken(path: str, *arguments: Any) -> Trace:
    """Take the trace of the function ``path`` (``"module:name"``), which is imported only now: traces import torch."""
    trace: Trace = load(path)(*arguments)
    return trace
