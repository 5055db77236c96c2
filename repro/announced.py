"""What installed packages announce, as entry points or by the path of an object, checked to be what it says."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from repro.errors import UsageError, command

T = TypeVar("T")


def announced(group: str, kind: type[T]) -> dict[str, T]:
    """Load the entry points of ``group`` in the order of their names, by what they point to.

    Raises UsageError for one that is no ``kind``.
    """
    found: dict[str, T] = {}
    for point in sorted(entry_points(group=group), key=lambda p: p.name):
        loaded = _loaded(point, group)
        if not isinstance(loaded, kind):
            article = "an" if kind.__name__[0] in "AEIOU" else "a"
            raise UsageError(
                f"entry point {point.value} of group {group} is not {article} {kind.__name__}",
                found=type(loaded).__name__,
            )
        found[point.value] = loaded
    return found


def _loaded(point: EntryPoint, group: str) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        package = point.value.partition(":")[0].partition(".")[0]
        taken = importlib.util.find_spec(package)
        place = None if taken is None else taken.origin or ", ".join(taken.submodule_search_locations or ())
        raise UsageError(
            f"entry point {point.value} of group {group} cannot be loaded: {error}",
            expected=f"the package {package} that announces it"
            + (f" (from {point.dist.name} {point.dist.version})" if point.dist is not None else ""),
            found="no such package" if place is None else f"{package} in {place}",
            mend="where that is another package of this name, install repro in an environment of its own: "
            + command("python3", "-m", "venv", "DIR"),
        ) from error


def load(path: str) -> Any:
    """Return the object called ``module:attribute``."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
