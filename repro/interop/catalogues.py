"""Catalogues of data sets that other libraries keep: entry points of the group ``repro.catalogues``.

A set of one is named ``CATALOGUE:NAME`` for ``repro eval --benchmarks``, or ``CATALOGUE:MODULE:NAME`` where a module
must be imported that registers it. Nothing here imports a library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

from repro.announced import announced, load
from repro.errors import known_as

ENTRY_POINT_GROUP = "repro.catalogues"


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """``open`` is ``"module:callable"``, called as ``callable(words, *, limit)``; it returns an opened set of ours."""

    name: str
    open: str


DETECTRON2 = Catalogue("detectron2", "repro.interop.detectron2.evaluating:open_set")


@cache
def catalogues() -> dict[str, Catalogue]:
    """Return all catalogues by name."""
    return {each.name: each for each in announced(ENTRY_POINT_GROUP, Catalogue).values()}


def is_elsewhere(word: str) -> bool:
    """Tell whether ``word`` names a set of a catalogue and none of ours."""
    return ":" in word


def opener(word: str) -> Callable[..., Any]:
    """Return what opens the set ``word``, with its name given; UsageError for an unknown catalogue."""
    name, _, inner = word.partition(":")
    catalogue = known_as("catalogue of data sets", name, catalogues(), mend="see docs/interop.md")

    def open_it(**more: Any) -> Any:
        return load(catalogue.open)(inner, **more)

    return open_it
