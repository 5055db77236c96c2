"""Towers with random weights, for what depends on shapes alone: counts, times, traces."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from repro.clip.spec import TowerSpec
from repro.experiments import aligned
from repro.files import write_json
from repro.hashing import digest

if TYPE_CHECKING:
    from repro.experiments.assets import Assets


def untrained_spec(assets: Assets, tower: str) -> TowerSpec:
    """The tower ``tower`` with random weights, its configuration written into the cache where it names no model."""
    plan = assets.profile.towers[tower]
    if plan.kind == aligned.KIND:
        base = untrained_spec(assets, aligned.read_recipe(assets.profile, tower).base)
        return dataclasses.replace(plan.spec, model=base.model, weights=None)
    if plan.kind != "tiny":
        return assets.architecture(tower)
    from repro.clip.tiny import CONFIG, TinyClipRecipe

    config = TinyClipRecipe(**plan.recipe).config()
    folder = assets.store.cache / "clip" / f"{tower}-untrained-{digest(config, 10)}"
    if not (folder / CONFIG).is_file():
        write_json(folder / CONFIG, config)
    return dataclasses.replace(plan.spec, model=str(folder), weights=None)
