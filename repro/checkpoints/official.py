"""What a method with a released checkpoint tells the harness about its names; see ``MethodEntry.official``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from repro.clip.spec import TowerSpec

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class OfficialVariant:
    """One released model: ``title`` for people, the ``tower`` (without weights: the file holds them) and ``options``
    that differ from the method's defaults."""

    title: str
    tower: TowerSpec
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class OfficialFormat(Protocol):
    """Names of a method's official checkpoints and ours; ``variants`` by the id ``--as`` takes."""

    title: str
    page: str
    variants: Mapping[str, OfficialVariant]

    def guess(self, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
        """Return ids of the variants a file with these entries may be; empty where it is not this method's."""

    def official_name(self, name: str) -> str:
        """Return the official name of the entry ``name`` of our state dict; KeyError for an unknown one."""

    def buffers(self, options: Any, grid: int) -> dict[str, Tensor]:
        """Return what official files hold and our modules compute, for a dense map of ``grid`` x ``grid`` places."""

    def ignored(self, name: str) -> bool:
        """Tell whether a file may hold ``name`` without it being a weight (normalisation constants and the like)."""

    def hint(self, shapes: Mapping[str, Shape]) -> str | None:
        """Return what is known about files that look official but do not fit (another release), if this is one."""
