"""Towers of kind ``aligned``: a tower of the profile, trained by an alignment (:mod:`repro.alignments`) with another.

A profile writes the recipe as ``dict(alignment="densevlm", base="base", powerful="large", seed=0, ..)``: the id of the
alignment, the keys of the tower that is trained and of the frozen one, and options that differ from the paper's
reading (``preset="as_released"`` among them). Images are those of the training set, without their labels.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from repro.alignments import FACTS, WEIGHTS, AlignmentEntry, get_alignment
from repro.clip.spec import TowerSpec
from repro.errors import UsageError
from repro.hashing import digest, source_digest

if TYPE_CHECKING:
    from pathlib import Path

    from repro.experiments.assets import Assets
    from repro.experiments.profiles import Profile, TowerPlan
    from repro.experiments.tables import Row

KIND = "aligned"
IMAGES = "coco-stuff"
"""The set whose images are aligned on."""


@dataclasses.dataclass(frozen=True)
class AlignedRecipe:
    """The recipe of an aligned tower, read: ``base`` and ``powerful`` are keys of towers of the profile."""

    entry: AlignmentEntry
    base: str
    powerful: str
    seed: int
    options: Any


def read_recipe(profile: Profile, tower: str) -> AlignedRecipe:
    """The recipe of ``tower``; UsageError for an unknown alignment, option or tower, and for a tower of itself."""
    plan, values = profile.towers[tower], dict(profile.towers[tower].recipe)
    try:
        entry = get_alignment(values.pop("alignment"))
        base, powerful, seed = values.pop("base"), values.pop("powerful"), int(values.pop("seed", 0))
    except KeyError as error:
        raise UsageError(
            f"the recipe of tower {tower} in profile {profile.name} lacks {error}",
            expected="alignment, base and powerful",
            found=", ".join(plan.recipe) or "nothing",
            mend="complete the recipe in the profile",
        ) from error
    for key in (base, powerful):
        if key not in profile.towers or profile.towers[key].kind == KIND:
            raise UsageError(
                f"tower {tower} of profile {profile.name} cannot be made from tower {key}",
                expected=", ".join(k for k, p in profile.towers.items() if p.kind != KIND),
                found=key,
                mend="correct the recipe in the profile",
            )
    return AlignedRecipe(entry, base, powerful, seed, entry.make_options(values))


def with_variants(profile: Profile, rows: Iterable[Row]) -> tuple[Profile, list[Row]]:
    """The profile with a tower of its own for each row that changes the recipe of its aligned tower, and those rows.

    UsageError for a row that wants to change a tower that is not aligned.
    """
    towers: dict[str, TowerPlan] = dict(profile.towers)
    changed = []
    for row in rows:
        if row.alignment:
            plan = profile.towers[row.tower]
            if plan.kind != KIND:
                raise UsageError(
                    f"row {row.id} changes the alignment of tower {row.tower}, which has none",
                    expected="a tower of kind aligned",
                    found=plan.kind,
                )
            key = f"{row.tower}-{digest(dict(row.alignment), 6)}"
            towers[key] = dataclasses.replace(plan, recipe={**plan.recipe, **row.alignment})
            row = dataclasses.replace(row, tower=key)
        changed.append(row)
    return dataclasses.replace(profile, towers=towers), changed


def sized_like(profile: Profile, tower: str) -> str:
    """The tower of the profile that ``tower`` has the architecture of: an aligned one that of its base."""
    return read_recipe(profile, tower).base if profile.towers[tower].kind == KIND else tower


def address(assets: Assets, tower: str) -> str:
    """The content address of the weights: recipe, both towers, images and code."""
    recipe = read_recipe(assets.profile, tower)
    values: Mapping[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe.options)))
    towers = [assets.tower_key(key) for key in (recipe.base, recipe.powerful)]
    return digest([values, recipe.seed, towers, assets.data_key(IMAGES), source_digest(recipe.entry.sources)])


def folder(assets: Assets, tower: str) -> Path:
    """Where the aligned tower is kept."""
    name = read_recipe(assets.profile, tower).entry.name
    return assets.store.cache / "clip" / f"{name}-{address(assets, tower)}"


def ready(assets: Assets, tower: str) -> bool:
    """Whether it is finished."""
    return (folder(assets, tower) / FACTS).is_file()


def spec(assets: Assets, tower: str) -> TowerSpec:
    """The finished tower; resolution and read-out are the profile's."""
    plan = assets.profile.towers[tower]
    return dataclasses.replace(plan.spec, model=str(folder(assets, tower)), weights=WEIGHTS)


def train(assets: Assets, tower: str) -> None:
    """Train the tower, and before it those it is made from where the profile trains them itself; on a GPU if any."""
    import torch

    from repro.benchmarks.layout import prepared_pairs
    from repro.benchmarks.spec import get_benchmark
    from repro.experiments.progress import tower_progress

    recipe = read_recipe(assets.profile, tower)
    base, powerful = assets.ensure_tower(recipe.base), assets.ensure_tower(recipe.powerful)
    images = [pair.image for pair in prepared_pairs(get_benchmark(IMAGES), assets.ensure_data(), split="train")]
    target = folder(assets, tower)
    with (
        assets.store.lock(str(target.relative_to(assets.store.root)), wait=True),
        tower_progress(assets.profile.towers[tower].title) as progress,
    ):
        recipe.entry.trainer()(
            base,
            powerful,
            recipe.options,
            images,
            target,
            seed=recipe.seed,
            device="cuda" if torch.cuda.is_available() else "cpu",
            cache=assets.store.cache / "text",
            progress=progress,
        )
