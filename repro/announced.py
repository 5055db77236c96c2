"""What installed packages announce, as entry points or by the path of an object, checked to be what it says."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any, TypeVar

from repro.errors import UsageError

T = TypeVar("T")


def announced(group: str, kind: type[T]) -> dict[str, T]:
    """Load the entry points of ``group`` in the order of their names, by what they point to.

    Raises UsageError for one that is no ``kind``.
    """
    found: dict[str, T] = {}
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        loaded = point.load()
        if not isinstance(loaded, kind):
            article = "an" if kind.__name__[0] in "AEIOU" else "a"
            raise UsageError(
                f"entry point {point.value} of group {group} is not {article} {kind.__name__}",
                found=type(loaded).__name__,
            )
        found[point.value] = loaded
    return found


def load(path: str) -> Any:
    """Return the object called ``module:attribute``."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
