"""Values as the types and bounds that a dataclass states take them, each in words. pydantic reads the types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from repro.errors import UsageError, unknown_name

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


def converted(what: str, value: Any, hint: Any, mend: str) -> Any:
    """Return ``value`` of ``what`` ("option heads of method catseg") as the type ``hint``.

    Whole numbers stay so where any number is asked, as an address has them. Raises UsageError, with the nearest of the
    words that there are.
    """
    from pydantic import ValidationError

    try:
        if _holds_bool(value) and not _takes_bool(hint):  # pydantic takes True for 1
            raise ValueError
        made = _adapter(hint).validate_python(value)
    except ValidationError as error:
        if isinstance(value, str) and (words := words_of(hint)):
            raise unknown_name(f"value of {what}", value, words, mend=mend) from error
        raise _unfit(what, value, hint, mend, ", ".join({e["msg"] for e in error.errors()})) from error
    except ValueError as error:
        raise _unfit(what, value, hint, mend) from error
    return value if type(value) is int and type(made) is float else made


def _unfit(what: str, value: Any, hint: Any, mend: str, why: str = "") -> UsageError:
    return UsageError(
        f"{what} does not fit" + (f": {why[:1].lower()}{why[1:]}" if why else ""),
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


def words_of(hint: Any) -> list[str]:
    """Return the words that the type ``hint`` allows; none where it allows any text."""
    if get_origin(hint) is Literal:
        return [each for each in get_args(hint) if isinstance(each, str)]
    return [word for each in get_args(hint) for word in words_of(each)] if get_origin(hint) is not tuple else []


def check_values(whose: str, values: Any, mend: str) -> None:
    """Raise UsageError for the first field of the dataclass ``values`` that has another type or is out of bounds.

    ``whose`` says what they are values of ("train of profile mini").
    """
    for name, hint in type_hints(type(values)).items():
        converted(f"{name} in {whose}", getattr(values, name), hint, mend)
