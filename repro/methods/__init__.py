"""The method interface and the registry through which the harness finds methods without knowing any by name.

A method is a torch module; see :class:`repro.methods.interface.Method` for the interface (kept apart so that listing
methods does not import torch). Packages announce methods as entry points of the group ``repro.methods``::

    [project.entry-points."repro.methods"]
    catseg = "baselines.catseg:METHOD"

each a :class:`MethodEntry`. Entries of the group ``repro.adapters`` are found by name in the same way, but on no list:
a model of another library is a method only together with the files that its options name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from repro.announced import announced, load
from repro.errors import command, known_as
from repro.methods.options import option_values
from repro.methods.released import ReleasedFile

if TYPE_CHECKING:
    from repro.checkpoints.official import OfficialFormat
    from repro.clip.tower import ClipTower
    from repro.methods.interface import Method

ENTRY_POINT_GROUP = "repro.methods"
ADAPTERS_GROUP = "repro.adapters"


@dataclasses.dataclass(frozen=True)
class MethodEntry:
    """What the harness knows of a method before importing torch.

    ``name`` is the id on the command line, ``title`` the name in tables, ``paper`` the source. ``options`` is a frozen
    dataclass type whose defaults are the paper's values. ``build`` is ``"module:callable"`` called as
    ``callable(clip: ClipTower, options) -> Method``. ``classes`` is ``"module:callable"``, called without torch as
    ``callable(options, names)``, for what a method reads of class names beside the words (their kinds): plain data that
    enters the address of its runs and evaluations. ``trainable`` is False for zero-shot methods, which are
    evaluated from their CLIP weights alone; ``tower`` is False for adapters, which bring a network of their own: the
    tower of the profile is then neither needed nor built, and ``clip`` is None. ``official`` is ``"module:object"`` of
    an :class:`repro.checkpoints.official.OfficialFormat` where checkpoints of the authors' code can be imported;
    ``released`` are those they published.
    """

    name: str
    title: str
    paper: str
    options: type
    build: str
    classes: str = ""
    trainable: bool = True
    tower: bool = True
    official: str = ""
    released: tuple[ReleasedFile, ...] = ()

    def make_options(self, values: Mapping[str, Any] | None = None) -> Any:
        """Make options with ``values`` over the paper's defaults; UsageError for an unknown one and a wrong type."""
        mend = command("repro", "describe", self.name)
        return self.options(**option_values(f"method {self.name}", self.options, values or {}, mend=mend))

    def create(self, clip: ClipTower | None, options: Any) -> Method:
        """Build the method as a torch module around ``clip`` (imports torch)."""
        method: Method = load(self.build)(clip, options)
        return method

    def class_facts(self, options: Any, names: Sequence[str]) -> Any:
        """Return what the method reads of ``names`` beside the words, as plain data; None for nothing."""
        return load(self.classes)(options, names) if self.classes else None

    def official_format(self) -> OfficialFormat | None:
        """Return the names of the method's released checkpoints (imports torch); None where it has none."""
        return load(self.official) if self.official else None


@cache
def registry() -> dict[str, MethodEntry]:
    """Return all installed methods by id, in the order of their ids."""
    return {entry.name: entry for entry in announced(ENTRY_POINT_GROUP, MethodEntry).values()}


@cache
def adapters() -> dict[str, MethodEntry]:
    """Return what wraps models of other libraries, by id."""
    return {entry.name: entry for entry in announced(ADAPTERS_GROUP, MethodEntry).values()}


def get_method(name: str) -> MethodEntry:
    """Return the method or adapter called ``name``; UsageError with suggestions where there is none."""
    found = registry()
    return found[name] if name in found else known_as("method", name, {**found, **adapters()})
