"""All data sets by id: the modules of :mod:`repro.datasets.sets`, and what other packages announce as entry points.

Every module there that holds ``DATA_SET`` is found. Another package announces a :class:`DataSet`::

    [project.entry-points."repro.datasets"]
    my-set = "my_package.my_set:DATA_SET"

A user's own sets are files (:mod:`repro.datasets.own_file`); others are added for a process (:func:`add_set`).
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from functools import cache
from pathlib import Path

import repro.datasets.sets
from repro.announced import announced
from repro.datasets.data_set import DataSet
from repro.datasets.own_file import VARIABLE, own_files, own_sets, read_own_set
from repro.errors import UsageError

ENTRY_POINT_GROUP = "repro.datasets"
_ADDED: dict[str, DataSet] = {}


def data_sets() -> dict[str, DataSet]:
    """Return all sets by id. Raises UsageError for an entry point that is something else or takes a known id."""
    return {**installed_sets(), **own_sets(), **_ADDED}


def add_set(data_set: DataSet) -> str:
    """Make ``data_set`` known to this process, in place of an earlier one of its id, and return that id."""
    _ADDED[data_set.id] = data_set
    return data_set.id


@cache
def installed_sets() -> dict[str, DataSet]:
    """Return the sets of packages by id."""
    names = [module.name for module in pkgutil.iter_modules(repro.datasets.sets.__path__)]
    modules = [importlib.import_module(f"repro.datasets.sets.{name}") for name in names]
    found = {module.DATA_SET.id: module.DATA_SET for module in modules if hasattr(module, "DATA_SET")}
    for place, data_set in announced(ENTRY_POINT_GROUP, DataSet).items():
        if data_set.id in found:
            raise UsageError(f"entry point {place} of group {ENTRY_POINT_GROUP} takes the id {data_set.id}")
        found[data_set.id] = data_set
    return found


def add_own_set(path: Path | str) -> str:
    """Make the data set that a TOML file describes known to this process and those it starts; return its id.

    Raises UsageError for a file that is absent or says something else, and for an id that another set has.
    """
    place = Path(path).resolve()
    files, found = own_files(), read_own_set(place)
    if str(place) not in files:
        if found.id.casefold() in {known.casefold() for known in data_sets()}:
            raise UsageError(
                f"{place} takes the id {found.id}, which another data set has", mend='write another id = ".."'
            )
        os.environ[VARIABLE] = os.pathsep.join([*files, str(place)])
    return found.id
