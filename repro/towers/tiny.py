"""Towers of kind ``tiny``: a tiny CLIP, trained on drawn scenes by ``recipe`` (:mod:`repro.mini.clip.training`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.clip.spec import TowerSpec
from repro.clip.weights import CONFIG_FILE
from repro.files import write_json
from repro.hashing import digest
from repro.towers.kind import Making, Progress, Tower, TowerKind
from repro.traces.subject import Subject

if TYPE_CHECKING:
    from repro.mini.clip.training import TinyClipRecipe
    from repro.sources.trace import Trace

SCORES = "scores.json"
"""Written last by repro.mini.clip.training, which imports torch."""


TRAINING = ("repro.mini.clip.training:train_tiny_clip",)


class Tiny(TowerKind):
    """A tiny CLIP, trained here in minutes; ``recipe`` holds what differs from its defaults."""

    name = "tiny"
    drawn = True

    def identity(self, tower: Tower) -> dict[str, Any]:
        """Return the digest of the recipe."""
        return {"recipe": digest(dict(tower.plan.recipe))}

    def making(self, tower: Tower) -> Making:
        """Return how it is trained; it needs nothing but its recipe."""
        recipe = tower.plan.recipe

        def take() -> Trace:
            from repro.traces.towers import tiny_trace

            return tiny_trace(_read(recipe))

        return Making(
            name=self.folders(self.identity(tower)),
            done=SCORES,
            subject=Subject(f"training {tower.plan.title}", TRAINING, dict(recipe), take),
            cost="tower_s",
            space_mib=300,
            like=lambda record: record.get("recipe") == _read(recipe).address(),
        )

    def make(self, tower: Tower, folder: Path, parts: Sequence[TowerSpec], progress: Progress | None) -> None:
        """Train it in ``folder``."""
        from repro.mini.clip.training import train_tiny_clip

        train_tiny_clip(folder, _read(tower.plan.recipe), progress)

    def untrained(self, tower: Tower) -> TowerSpec:
        """Return its architecture; the configuration is written into the cache, as it has no name to open_clip."""
        config = _read(tower.plan.recipe).config()
        folder = tower.store.cache / "clip" / f"{tower.key}-untrained-{digest(config, 10)}"
        if not (folder / CONFIG_FILE).is_file():
            write_json(folder / CONFIG_FILE, config)
        return dataclasses.replace(tower.plan.spec, model=str(folder), weights=None)

    def folders(self, facts: Mapping[str, Any]) -> str:
        """Return the name of the folder of the recipe."""
        return f"tiny-{facts.get('recipe')}"


KIND = Tiny()


def _read(recipe: Mapping[str, Any]) -> TinyClipRecipe:
    from repro.mini.clip.training import TinyClipRecipe

    return TinyClipRecipe(**recipe)
