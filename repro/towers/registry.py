"""All kinds of towers by name: the modules of this package, and what other packages announce as entry points.

Every module here that holds ``KIND`` is found. Another package announces a :class:`repro.towers.kind.TowerKind`::

    [project.entry-points."repro.towers"]
    shipped = "my_package.towers:KIND"
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import repro.towers
from repro.announced import announced
from repro.errors import known_as
from repro.towers.kind import TowerKind

ENTRY_POINT_GROUP = "repro.towers"


@cache
def tower_kinds() -> dict[str, TowerKind]:
    """Return all kinds by name. Raises UsageError for an entry point that is something else."""
    names = [module.name for module in pkgutil.iter_modules(repro.towers.__path__)]
    modules = [importlib.import_module(f"repro.towers.{name}") for name in names]
    found = {module.KIND.name: module.KIND for module in modules if hasattr(module, "KIND")}
    others = announced(ENTRY_POINT_GROUP, TowerKind).values()  # type: ignore[type-abstract]
    return found | {kind.name: kind for kind in others}


def get_kind(name: str) -> TowerKind:
    """Return the kind called ``name``; UsageError with suggestions where there is none."""
    return known_as("kind of tower", name, tower_kinds(), mend="install the package it comes with")


def tower_folders(facts: Mapping[str, Any]) -> str:
    """Return the pattern of folders in the cache's ``clip`` that a tower identified by ``facts`` may lie in.

    ``facts`` are those of ``Assets.tower_key`` as a run keeps them; "" where the model needs no folder.
    """
    return f"*-{facts['shipped']}" if "shipped" in facts else get_kind(facts["kind"]).folders(facts)
