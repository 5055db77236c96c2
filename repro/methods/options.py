"""Options by name as a frozen dataclass takes them: names it has, and values of the types and bounds it states."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from annotated_types import Ge

from repro.errors import UsageError, command, unknown_name
from repro.values import converted, type_hints, words_of

_LOSS_WEIGHT = "weight of a loss"
LossWeight = Annotated[float, Ge(0), _LOSS_WEIGHT]
"""The type of an option that weighs a loss of the method's paper: ``repro tune`` searches it (docs/tuning.md)."""


def option_values(kind: str, options: type, values: Mapping[str, Any], mend: str) -> dict[str, Any]:
    """Return ``values`` as their types: tuples for lists, numbers for texts that are numbers. ``kind`` is what they are
    options of ("method catseg").

    Raises UsageError for a name that ``options`` lacks, for a word that is none of its option's, with the nearest, and
    for a value of another type or out of bounds.
    """
    known, hints = {field.name for field in dataclasses.fields(options) if field.init}, type_hints(options)
    for name in values:
        if name not in known:
            raise unknown_name(f"option of {kind}", name, known, mend=mend)
    return {name: converted(f"option {name} of {kind}", value, hints[name], mend) for name, value in values.items()}


def check_options(
    method: str, options: Any, checks: Mapping[str, tuple[bool, str]] | None = None, mend: str = ""
) -> None:
    """Check the values of the frozen dataclass ``options`` of ``method`` by their types.

    ``checks`` maps an option to whether it holds and what would, for what depends on other options. Raises UsageError
    for a word that is none of its option's, with the nearest, for a value of another type or out of bounds, and for the
    first check that does not hold.
    """
    mend = mend or command("repro", "describe", method)
    for name, hint in type_hints(type(options)).items():
        converted(f"option {name} of {method}", getattr(options, name), hint, mend)
    for name, (holds, expected) in (checks or {}).items():
        if not holds:
            raise UsageError(
                f"option {name} of {method} does not fit", expected=expected, found=getattr(options, name), mend=mend
            )


def choices(options: type) -> Iterator[tuple[str, Any]]:
    """Yield every option with each of its values that is not the default, where the type lists them: words, True and
    False.
    """
    hints = type_hints(options)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        for value in (True, False) if hint is bool else words_of(hint):
            if value != field.default:
                yield field.name, value


def loss_weights(options: Any) -> dict[str, float]:
    """Return the weights of losses among the values ``options`` by name, without those that are off (0)."""
    hints = type_hints(type(options))
    marked = [name for name, hint in hints.items() if _LOSS_WEIGHT in getattr(hint, "__metadata__", ())]
    return {name: value for name in marked if (value := getattr(options, name))}


def parse_options(pairs: list[str], example: str = "-o name=value") -> dict[str, Any]:
    """Read ``key=value`` pairs: Python literals where they parse as such, else strings; UsageError without a key."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise UsageError("an option must be KEY=VALUE", found=pair, mend=example)
        try:
            parsed[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            parsed[key] = text
    return parsed
