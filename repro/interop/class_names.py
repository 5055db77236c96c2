"""Classes of a closed vocabulary matched by name with those asked for: a model of another library knows no others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from repro.datasets.benchmarks import all_sets
from repro.errors import UsageError

_SHOWN = 8


def match(wanted: Sequence[str], have: Sequence[str], mend: str) -> list[int]:
    """Return of each of the ``wanted`` classes the index of the class of ``have`` that is called so.

    Names are compared without case, spaces and marks; "couch, sofa" is called either. Whole names go before first
    words, first words before others, and each of ``have`` is given once while there are free ones. Raises UsageError
    that lists the classes that ``have`` lacks.
    """
    found: list[int | None] = [None] * len(wanted)
    for keys in (_whole, _first, _every):
        free: dict[str, list[int]] = {}
        for index, name in enumerate(have):
            if index not in found:
                for key in keys(name):
                    free.setdefault(key, []).append(index)
        for place, name in enumerate(wanted):
            if found[place] is None:
                candidates = (i for key in keys(name) for i in free.get(key, ()) if i not in found)
                found[place] = next(candidates, None)
    _share(wanted, found)
    missing = [name for name, index in zip(wanted, found, strict=True) if index is None]
    if missing:
        raise UsageError(
            f"the model has no class of these names: {_some(missing)}",
            expected=f"all {len(wanted)} classes asked for among the {len(have)} of the model",
            found=f"{len(wanted) - len(missing)} of them; not asked for: {_some(_rest(have, found))}",
            mend=mend,
        )
    return [index for index in found if index is not None]


def with_synonyms(names: Sequence[str]) -> tuple[str, ...]:
    """Return ``names`` with all synonyms where they are the words of a known data set; else themselves."""
    asked = tuple(names)
    for data_set in all_sets().values():
        own = data_set.class_names()
        if data_set.prompt_names() == asked and len(own) == len(asked):
            return own
    return asked


def _share(wanted: Sequence[str], found: list[int | None]) -> None:
    """Give classes of one name (bag, three times among 847) the same channel where the model has fewer of them."""
    by_name: dict[str, int] = {}
    for name, index in zip(wanted, found, strict=True):
        if index is not None:
            by_name.setdefault(_whole(name)[0], index)
    for place, name in enumerate(wanted):
        if found[place] is None:
            found[place] = by_name.get(_whole(name)[0])


def _plain(text: str) -> str:
    return re.sub(r"[^\w]|_", "", text.casefold())


def _whole(name: str) -> list[str]:
    return [_plain(name)]


def _first(name: str) -> list[str]:
    return [_plain(re.split("[,;]", name)[0])]


def _every(name: str) -> list[str]:
    return [_plain(part) for part in re.split("[,;]", name) if _plain(part)]


def _rest(have: Sequence[str], found: Sequence[int | None]) -> list[str]:
    return [name for index, name in enumerate(have) if index not in found]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(map(repr, names[:_SHOWN])) or "none") + more
