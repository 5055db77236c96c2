"""What formats have in common: the entries a complete file holds, and how a file at hand differs from that."""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from repro.checkpoints.official import Shape
from repro.checkpoints.reading import ForeignFile

_SHOWN = 8  # names of a long list that an error message prints


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a complete file of one variant holds.

    ``names`` maps every entry of the file to ours, ``shapes`` to its shape. ``buffers`` are entries it may hold
    whose values our modules compute: they must be these.
    """

    names: Mapping[str, str]
    shapes: Mapping[str, Shape]
    buffers: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Misfit:
    """How the entries of a file differ from a layout; false where they do not."""

    missing: Mapping[str, Shape]
    unexpected: Mapping[str, Shape]
    reshaped: Mapping[str, tuple[Shape, Shape]]
    """name -> (found, expected)"""
    altered: tuple[str, ...] = ()
    """buffers with other values than the model computes"""

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.reshaped) + len(self.altered)

    def __str__(self) -> str:
        lists = {
            "missing": [f"{n} {_text(s)}" for n, s in self.missing.items()],
            "unexpected": [f"{n} {_text(s)}" for n, s in self.unexpected.items()],
            "of another shape": [f"{n} {_text(a)} instead of {_text(b)}" for n, (a, b) in self.reshaped.items()],
            "with other values than the model computes": list(self.altered),
        }
        return "\n            ".join(
            f"{len(items)} {kind}: {', '.join(items[:_SHOWN])}"
            + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
            for kind, items in lists.items()
            if items
        )

    def as_json(self) -> dict[str, Any]:
        """Return the whole lists."""
        return {
            "missing": [{"name": n, "shape": list(s)} for n, s in self.missing.items()],
            "unexpected": [{"name": n, "shape": list(s)} for n, s in self.unexpected.items()],
            "reshaped": [
                {"name": n, "found": list(a), "expected": list(b)} for n, (a, b) in self.reshaped.items()
            ],
            "altered": list(self.altered),
        }  # fmt: skip


class Format(ABC):
    """One way files name their tensors, with its known variants (sizes)."""

    id: str
    title: str
    page: str
    """Where such files come from."""

    @abstractmethod
    def variants(self) -> tuple[str, ...]:
        """Return ids that ``--as`` takes, the most usual first."""

    @abstractmethod
    def guess(self, file: ForeignFile) -> tuple[str, ...]:
        """Return the variants ``file`` may be, judged by telling entries; empty where it is not of this format."""

    @abstractmethod
    def layout(self, variant: str, shapes: Mapping[str, Shape]) -> Layout:
        """Return the layout of ``variant``; ``shapes`` of the file at hand choose between spellings of the same."""

    @abstractmethod
    def describe(self, variant: str) -> dict[str, Any]:
        """Return the result as plain data: ``title`` and either ``method``, ``tower``, ``options`` or ``model``."""

    def ignored(self, name: str) -> bool:
        """Tell whether a file may hold ``name`` without it being a weight."""
        return False

    def hint(self, shapes: Mapping[str, Shape]) -> str | None:
        """Return what is known about files that look like this format and do not fit."""
        return None

    def misfit(self, file: ForeignFile, layout: Layout) -> Misfit:
        """Return how ``file`` differs from ``layout``; scalars may be stored as one element."""
        found = {n: s for n, s in file.shapes.items() if n not in layout.buffers and not self.ignored(n)}
        return Misfit(
            {n: s for n, s in layout.shapes.items() if n not in found},
            {n: s for n, s in found.items() if n not in layout.shapes},
            {
                n: (s, layout.shapes[n])
                for n, s in found.items()
                if n in layout.shapes and not _same(s, layout.shapes[n])
            },
            tuple(n for n, t in layout.buffers.items() if n in file.state and not _equal(file.state[n], t)),
        )


def likeness(found: Iterable[str], known: Iterable[str]) -> float:
    """Return the share of kinds of entries two lists of names have in common, 0 to 1.

    The kind of an entry is the end of its name without numbers, so that another prefix or depth makes no difference.
    """
    a, b = ({re.sub(r"\d+", "#", ".".join(name.split(".")[-2:])) for name in names} for names in (found, known))
    return len(a & b) / max(1, len(a | b))


def _same(found: Shape, expected: Shape) -> bool:
    return found == expected or ({found, expected} == {(), (1,)})


def _equal(found: Tensor, expected: Tensor) -> bool:
    if found.is_meta or expected.is_meta:
        return found.shape == expected.shape
    return found.shape == expected.shape and torch.equal(found.float(), expected.float())


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
