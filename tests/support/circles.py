"""Circles among imports."""

from __future__ import annotations

from collections.abc import Mapping, Set
from graphlib import CycleError, TopologicalSorter


def circle_in(arrows: Mapping[str, Set[str]]) -> list[str]:
    """Return one circle of ``arrows`` (module -> what it imports), empty where there is none."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []
