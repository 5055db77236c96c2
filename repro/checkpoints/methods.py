"""Formats that methods offer for the checkpoints of their authors' code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from repro.checkpoints.formats import Format, Layout
from repro.checkpoints.official import OfficialFormat, Shape
from repro.checkpoints.reading import ForeignFile
from repro.methods import MethodEntry, registry


class MethodFormat(Format):
    """The official checkpoints of one method, as a format like any other."""

    def __init__(self, entry: MethodEntry, official: OfficialFormat) -> None:
        self.entry, self.official = entry, official
        self.id, self.title, self.page = entry.name, official.title, official.page

    def variants(self) -> tuple[str, ...]:
        return tuple(self.official.variants)

    def guess(self, file: ForeignFile) -> tuple[str, ...]:
        return self.official.guess(file.shapes)

    def layout(self, variant: str, shapes: Mapping[str, Shape]) -> Layout:
        return _layout(self.entry.name, variant)

    def describe(self, variant: str) -> dict[str, Any]:
        chosen = self.official.variants[variant]
        options = self.entry.make_options(chosen.options)
        return {
            "title": chosen.title,
            "method": self.entry.name,
            "tower": dataclasses.asdict(chosen.tower),
            "options": dataclasses.asdict(options),
        }

    def ignored(self, name: str) -> bool:
        return self.official.ignored(name)

    def hint(self, shapes: Mapping[str, Shape]) -> str | None:
        return self.official.hint(shapes)


def method_formats() -> tuple[MethodFormat, ...]:
    """Return one format for every installed method that has official checkpoints."""
    found = ((entry, entry.official_format()) for entry in registry().values())
    return tuple(MethodFormat(entry, official) for entry, official in found if official is not None)


@lru_cache(maxsize=8)
def _layout(method: str, variant: str) -> Layout:
    """Return what an official file of ``variant`` holds, read off the method built without memory."""
    import torch

    from repro.clip.tower import build_tower

    entry = registry()[method]
    official = entry.official_format()
    assert official is not None, f"{method} has no official format"
    chosen = official.variants[variant]
    options = entry.make_options(chosen.options)
    with torch.device("meta"):
        tower = build_tower(chosen.tower)
        model = entry.create(tower, options)
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = {official.official_name(name): name for name in ours}
    shapes = {theirs: ours[name] for theirs, name in names.items()}
    return Layout(names, shapes, official.buffers(options, tower.grid))
