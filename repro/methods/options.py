"""Options by name as a frozen dataclass takes them: names it has, and values of the types and bounds it states.

pydantic reads the types; each type below is also the words in which an option is described.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from repro.errors import UsageError, command, unknown_name

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Count = Annotated[int, Ge(1)]
"""A whole number of something that must be there: heads, channels, pixels."""
Number = Annotated[int, Ge(0)]
"""A whole number of something that may be left out."""
Positive = Annotated[float, Gt(0)]
Weight = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Between = Annotated[float, Gt(0), Lt(1)]
Counts = Annotated[tuple[Count, ...], MinLen(1)]
Blocks = Annotated[tuple[Number, ...], MinLen(1)]
"""Indices of blocks of a tower."""
_LOSS_WEIGHT = "weight of a loss"
LossWeight = Annotated[float, Ge(0), _LOSS_WEIGHT]
"""The type of an option that weighs a loss of the method's paper: ``repro tune`` searches it (docs/tuning.md)."""


def option_values(kind: str, options: type, values: Mapping[str, Any], mend: str) -> dict[str, Any]:
    """Return ``values`` as their types: tuples for lists, numbers for texts that are numbers. ``kind`` is what they are
    options of ("method catseg").

    Raises UsageError for a name that ``options`` lacks, for a word that is none of its option's, with the nearest, and
    for a value of another type or out of bounds.
    """
    known, hints = {field.name for field in dataclasses.fields(options)}, type_hints(options)
    for name in values:
        if name not in known:
            raise unknown_name(f"option of {kind}", name, known, mend=mend)
    return {name: converted(kind, name, value, hints[name], mend) for name, value in values.items()}


def converted(kind: str, name: str, value: Any, hint: Any, mend: str) -> Any:
    """Return ``value`` as the type ``hint``; whole numbers stay so where any number is asked, as an address has them.

    Raises UsageError.
    """
    from pydantic import ValidationError

    try:
        if _holds_bool(value) and not _takes_bool(hint):  # pydantic takes True for 1
            raise ValueError
        made = _adapter(hint).validate_python(value)
    except ValidationError as error:
        if isinstance(value, str) and (words := _words(hint)):
            raise unknown_name(f"value of option {name} of {kind}", value, words, mend=mend) from error
        raise _unfit(kind, name, value, hint, mend, ", ".join({e["msg"] for e in error.errors()})) from error
    except ValueError as error:
        raise _unfit(kind, name, value, hint, mend) from error
    return value if type(value) is int and type(made) is float else made


def _unfit(kind: str, name: str, value: Any, hint: Any, mend: str, why: str = "") -> UsageError:
    return UsageError(
        f"option {name} of {kind} does not fit" + (f": {why[:1].lower()}{why[1:]}" if why else ""),
        expected=described(hint),
        found=f"{value!r:.200} ({type(value).__name__})",
        mend=mend,
    )


def _holds_bool(value: Any) -> bool:
    return any(map(_holds_bool, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


def _takes_bool(hint: Any) -> bool:
    return hint is bool or any(isinstance(part, bool) or _takes_bool(part) for part in get_args(hint))


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))


def type_hints(options: type) -> dict[str, Any]:
    """Return the types of the options, with their bounds, by name."""
    return get_type_hints(options, include_extras=True)


def described(hint: Any) -> str:
    """Describe a type and its bounds in words."""
    return _in_words(_adapter(hint).json_schema())


def _in_words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(each) for each in schema["anyOf"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])}: {', '.join(_in_words(each) for each in schema['prefixItems'])}"
    if schema.get("type") == "array":
        least = ", one at least" if schema.get("minItems") else ""
        return f"a list{least}, each {_in_words(schema['items'])}"
    words = {"integer": "a whole number", "number": "a number", "boolean": "True or False", "string": "a text",
             "null": "None"}  # fmt: skip
    limits = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
    bounds = [words_of.format(f"{schema[key]:g}") for key, words_of in limits.items() if key in schema]
    return " ".join([words[schema["type"]], *bounds])


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
        converted(method, name, getattr(options, name), hint, mend)
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
    hints = type_hints(options)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        for value in (True, False) if hint is bool else _words(hint):
            if value != field.default:
                yield field.name, value


def loss_weights(options: Any) -> dict[str, float]:
    """Return the weights of losses among the values ``options`` by name, without those that are off (0)."""
    hints = type_hints(type(options))
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
