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

from repro.alignments import FACTS, WEIGHTS, AlignmentEntry, Labels, get_alignment
from repro.clip.spec import TowerSpec
from repro.errors import UsageError
from repro.experiments.code import FILE as CODE
from repro.experiments.code import Subject
from repro.experiments.past import renamed, tower_of_past
from repro.experiments.places import Place, settle
from repro.files import write_json
from repro.hashing import digest

if TYPE_CHECKING:
    from pathlib import Path

    from repro.experiments.assets import Assets
    from repro.experiments.profiles import Profile, TowerPlan
    from repro.experiments.tables import Row
    from repro.traces.trace import Trace

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
    """The address of what is asked for: recipe, category names, both towers and images."""
    recipe = read_recipe(assets.profile, tower)
    values: Mapping[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe.options)))
    towers = [assets.tower_key(key) for key in (recipe.base, recipe.powerful)]
    names = recipe.entry.class_facts(recipe.options)
    return digest([values, names, recipe.seed, towers, assets.data_key(IMAGES)])


def subject(assets: Assets, tower: str) -> Subject:
    """The code that makes the tower."""
    recipe = read_recipe(assets.profile, tower)
    parts = [assets.architecture(key) for key in (recipe.base, recipe.powerful)]

    def take() -> Trace:
        from repro.experiments.untrained import untrained_spec
        from repro.traces.towers import alignment_trace

        specs = [untrained_spec(assets, key) for key in (recipe.base, recipe.powerful)]
        return alignment_trace(recipe.entry, recipe.options, *specs)

    asked = [json.loads(json.dumps(dataclasses.asdict(recipe.options))), *(dataclasses.asdict(p) for p in parts)]
    asked += [dict(assets.profile.towers[key].recipe) for key in (recipe.base, recipe.powerful)]
    title = assets.profile.towers[tower].title
    return Subject(f"aligning {title}", (recipe.entry.train, "repro.clip.tower:build_tower"), asked, take)


def inputs(assets: Assets, tower: str) -> dict[str, str]:
    """The names of the made things the tower is made from."""
    recipe = read_recipe(assets.profile, tower)
    parts = {"base": assets.tower_place(recipe.base), "powerful": assets.tower_place(recipe.powerful)}
    return {**assets.inputs(), **{k: p.path.name for k, p in parts.items() if p is not None}}


def place(assets: Assets, tower: str) -> Place:
    """Where the aligned tower lies or will lie."""
    name = read_recipe(assets.profile, tower).entry.name
    base = assets.store.cache / "clip" / f"{name}-{address(assets, tower)}"
    made_from = inputs(assets, tower)
    return assets.remember(
        base.name,
        lambda: settle(
            base,
            lambda path: any((path / file).is_file() for file in (CODE, FACTS)),
            lambda path: assets.code.judge(path / CODE, subject(assets, tower), made_from),
            [*renamed(base), *tower_of_past(base.parent, assets.profile.towers[tower])],
        ),
    )


def folder(assets: Assets, tower: str) -> Path:
    """Where the aligned tower is kept."""
    return place(assets, tower).path


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
    data = get_benchmark(IMAGES)
    pairs = prepared_pairs(data, assets.ensure_data(), split="train")
    labels = Labels(tuple(pair.label for pair in pairs), data.prompt_names())
    target = folder(assets, tower)
    with (
        assets.store.lock(str(target.relative_to(assets.store.root)), wait=True),
        tower_progress(assets.profile.towers[tower].title) as progress,
    ):
        if not (target / CODE).is_file():
            write_json(target / CODE, assets.code.record(subject(assets, tower), inputs(assets, tower)))
        recipe.entry.trainer()(
            base,
            powerful,
            recipe.options,
            [pair.image for pair in pairs],
            target,
            seed=recipe.seed,
            device="cuda" if torch.cuda.is_available() else "cpu",
            cache=assets.store.cache / "text",
            progress=progress,
            labels=labels,
        )
