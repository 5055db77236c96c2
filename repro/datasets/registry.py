"""All data sets by id: the modules of :mod:`repro.datasets.sets`, and what other packages announce as entry points.

Every module there that holds ``DATA_SET`` is found. Another package announces a :class:`DataSet`::

    [project.entry-points."repro.datasets"]
    my-set = "my_package.my_set:DATA_SET"
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

import repro.datasets.sets
from repro.announced import announced
from repro.datasets.data_set import DataSet
from repro.errors import UsageError

ENTRY_POINT_GROUP = "repro.datasets"


@cache
def data_sets() -> dict[str, DataSet]:
    """Return all sets by id. Raises UsageError for an entry point that is something else or takes a known id."""
    names = [module.name for module in pkgutil.iter_modules(repro.datasets.sets.__path__)]
    modules = [importlib.import_module(f"repro.datasets.sets.{name}") for name in names]
    found = {module.DATA_SET.id: module.DATA_SET for module in modules if hasattr(module, "DATA_SET")}
    for place, data_set in announced(ENTRY_POINT_GROUP, DataSet).items():
        if data_set.id in found:
            raise UsageError(f"entry point {place} of group {ENTRY_POINT_GROUP} takes the id {data_set.id}")
        found[data_set.id] = data_set
    return found
