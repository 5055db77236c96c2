"""Options by name as a frozen dataclass takes them: names it has, and values of the types it states."""

from __future__ import annotations

import ast
import dataclasses
import math
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from repro.errors import UsageError, command, unknown_name

_LOSS_WEIGHT = "weight of a loss"
LossWeight = Annotated[float, _LOSS_WEIGHT]
"""The type of an option that weighs a loss of the method's paper: ``repro tune`` searches it (docs/tuning.md)."""


def option_values(kind: str, options: type, values: Mapping[str, Any], mend: str) -> dict[str, Any]:
    """Return ``values`` with tuples for lists; ``kind`` is what they are options of ("method catseg").

    Raises UsageError for a name that ``options`` lacks, with the nearest, and for a value of another type. Which words
    and numbers make sense, ``options`` itself says.
    """
    known, hints = {field.name for field in dataclasses.fields(options)}, get_type_hints(options)
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    for name, value in given.items():
        if name not in known:
            raise unknown_name(f"option of {kind}", name, known, mend=mend)
        if not fits(value, hints[name]):
            raise UsageError(
                f"option {name} of {kind} has a value of the wrong type",
                expected=described(hints[name]),
                found=f"{value!r:.200} ({type(value).__name__})",
                mend=mend,
            )
    return given


def fits(value: Any, hint: Any) -> bool:
    """Tell whether ``value`` has the type ``hint``: whole numbers are numbers, True is none; of words the type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) for each in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(value) == len(each) and all(map(fits, value, each))
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is hint


def described(hint: Any) -> str:
    """Describe a type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(described(each) for each in inner)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"a list, each {described(inner[0])}"
        return f"a list of {len(inner)}: {', '.join(described(each) for each in inner)}"
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", types.NoneType: "None"}
    return words.get(hint, str(hint))


def check_options(method: str, options: Any, checks: Mapping[str, tuple[bool, str]] | None = None) -> None:
    """Check the values of the frozen dataclass ``options`` of ``method``.

    ``checks`` maps an option to whether it holds and what would. Raises UsageError for a word that is none of its
    option's, with the nearest, and for the first check that does not hold.
    """
    mend = command("repro", "describe", method)
    for name, hint in get_type_hints(type(options)).items():
        value, words = getattr(options, name), _words(hint)
        if isinstance(value, str) and words and value not in words:
            raise unknown_name(f"value of option {name} of {method}", value, words, mend=mend)
    for name, (holds, expected) in (checks or {}).items():
        if not holds:
            raise UsageError(
                f"option {name} of {method} does not fit", expected=expected, found=getattr(options, name), mend=mend
            )


def _words(hint: Any) -> list[str]:
    """Return the words that a type allows; none where it allows any text."""
    if get_origin(hint) is Literal:
        return [each for each in get_args(hint) if isinstance(each, str)]
    return [word for each in get_args(hint) for word in _words(each)] if get_origin(hint) is not tuple else []


def choices(options: type) -> Iterator[tuple[str, Any]]:
    """Yield every option with each of its values that is not the default, where the type lists them: words, True and
    False.
    """
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        for value in (True, False) if hint is bool else _words(hint):
            if value != field.default:
                yield field.name, value


def loss_weights(options: Any) -> dict[str, float]:
    """Return the weights of losses among the values ``options`` by name, without those that are off (0)."""
    hints = get_type_hints(type(options), include_extras=True)
    marked = [name for name, hint in hints.items() if _LOSS_WEIGHT in getattr(hint, "__metadata__", ())]
    return {name: value for name in marked if (value := getattr(options, name))}


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs: Python literals where they parse as such, else strings; UsageError without a key."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise UsageError("an option must be KEY=VALUE", found=pair, mend="-o name=value")
        try:
            parsed[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            parsed[key] = text
    return parsed
