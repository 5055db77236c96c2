"""Towers of kind ``aligned``: a tower of the profile, trained by an alignment with another.

Alignments are announced by packages (:mod:`repro.methods.alignments`).

A profile writes the recipe as ``dict(alignment="densevlm", base="base", powerful="large", seed=0, ..)``: the id of the
alignment, the keys of the tower that is trained and of the frozen one, and options that differ from the paper's
reading (``preset="as_released"`` among them). Images are those of the training set, without their labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.clip.spec import TowerSpec
from repro.errors import ReproError, UsageError
from repro.files import read_json
from repro.hashing import digest
from repro.methods.alignments import FACTS, AlignmentEntry, Labels, get_alignment
from repro.towers.kind import Making, Progress, Tower, TowerKind, TowerPlan, TowerProfile, TrainingCost
from repro.traces.subject import Subject

if TYPE_CHECKING:
    from repro.sources.trace import Trace

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

    @property
    def values(self) -> dict[str, Any]:
        """The options as they are part of an address."""
        return self.entry.values(self.options)


class Aligned(TowerKind):
    """A tower that an alignment makes from two others of the profile."""

    name = "aligned"
    takes_changes = True
    premise = FACTS

    def identity(self, tower: Tower) -> dict[str, Any]:
        """Return the digest of recipe, category names, both towers and images."""
        recipe = read_recipe(tower.store.profile, tower.key)
        towers = [tower.store.tower_key(key) for key in (recipe.base, recipe.powerful)]
        names = recipe.entry.class_facts(recipe.options)
        return {"alignment": digest([recipe.values, names, recipe.seed, towers, tower.store.data_key(IMAGES)])}

    def parts(self, tower: Tower) -> tuple[str, ...]:
        """Return the keys of the tower that is trained and of the frozen one."""
        recipe = read_recipe(tower.store.profile, tower.key)
        return recipe.base, recipe.powerful

    def making(self, tower: Tower) -> Making:
        """Return how it is aligned."""
        recipe, store = read_recipe(tower.store.profile, tower.key), tower.store
        made = {"base": store.inputs(recipe.base), "powerful": store.inputs(recipe.powerful)}
        return Making(
            name=f"{recipe.entry.name}-{self.identity(tower)['alignment']}",
            done=FACTS,
            subject=_subject(tower, recipe),
            cost="align_s",
            space_mib=2000,
            like=lambda record: _same_options(record, tower.plan),
            inputs={**store.inputs(), **{key: names["tower"] for key, names in made.items() if "tower" in names}},
            data=IMAGES,
        )

    def make(self, tower: Tower, folder: Path, parts: Sequence[TowerSpec], progress: Progress | None) -> None:
        """Align ``parts``, the tower that is trained and the frozen one, on a GPU if there is any."""
        import torch

        from repro.datasets.benchmarks import get_benchmark
        from repro.datasets.layout import prepared_pairs

        recipe, data = read_recipe(tower.store.profile, tower.key), get_benchmark(IMAGES)
        pairs = prepared_pairs(data, tower.store.ensure_data(), split="train")
        recipe.entry.trainer()(
            *parts,
            recipe.options,
            [pair.image for pair in pairs],
            folder,
            seed=recipe.seed,
            device="cuda" if torch.cuda.is_available() else "cpu",
            cache=tower.store.cache / "text",
            progress=progress,
            labels=Labels(tuple(pair.label for pair in pairs), data.prompt_names()),
        )

    def readings(self, tower: Tower) -> Iterator[tuple[str, Subject]]:
        """Yield the other readings of the alignment."""
        recipe = read_recipe(tower.store.profile, tower.key)
        for reading in recipe.entry.readings:
            words = " ".join(f"{name}={value}" for name, value in reading.items())
            other = dataclasses.replace(recipe, options=dataclasses.replace(recipe.options, **reading))
            yield f"{recipe.entry.name} {words}", _subject(tower, other)

    def training_cost(self, tower: Tower) -> TrainingCost | None:
        """Return what the alignment recorded under ``cost``; None before it is made and where it recorded nothing."""
        path = tower.store.tower_folder(tower.key) / FACTS
        found = read_json(path).get("cost") if path.is_file() else None
        return (
            None if found is None else TrainingCost(**{f.name: found[f.name] for f in dataclasses.fields(TrainingCost)})
        )

    def untrained(self, tower: Tower) -> TowerSpec:
        """Return the architecture of the tower that is trained, read out as this one."""
        base = tower.store.untrained_tower(self.parts(tower)[0])
        return dataclasses.replace(tower.plan.spec, model=base.model, weights=None)

    def folders(self, facts: Mapping[str, Any]) -> str:
        """Return the pattern of the folder, which begins with the id of the alignment."""
        return f"*-{facts.get('alignment')}"


KIND = Aligned()


def read_recipe(profile: TowerProfile, tower: str) -> AlignedRecipe:
    """Read the recipe of ``tower``; UsageError for an unknown alignment, option or tower, and for a tower of itself."""
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
        if key not in profile.towers or profile.towers[key].kind == KIND.name:
            raise UsageError(
                f"tower {tower} of profile {profile.name} cannot be made from tower {key}",
                expected=", ".join(k for k, p in profile.towers.items() if p.kind != KIND.name),
                found=key,
                mend="correct the recipe in the profile",
            )
    return AlignedRecipe(entry, base, powerful, seed, entry.make_options(values))


def _subject(tower: Tower, recipe: AlignedRecipe) -> Subject:
    """Return the code that makes the tower."""
    keys, store = (recipe.base, recipe.powerful), tower.store

    def take() -> Trace:
        from repro.traces.towers import alignment_trace

        return alignment_trace(recipe.entry, recipe.options, *(store.untrained_tower(key) for key in keys))

    plans = [store.profile.towers[key] for key in keys]
    asked = [recipe.values, *({**dataclasses.asdict(p.spec), "weights": None} for p in plans)]
    asked += [dict(p.recipe) for p in plans]
    return Subject(f"aligning {tower.plan.title}", (recipe.entry.train, "repro.clip.tower:build_tower"), asked, take)


def _same_options(record: Mapping[str, Any], plan: TowerPlan) -> bool:
    """Return whether a finished alignment had the options of ``plan``; towers and images are not looked at."""
    values = {k: v for k, v in plan.recipe.items() if k not in ("alignment", "base", "powerful", "seed")}
    try:
        entry = get_alignment(plan.recipe["alignment"])
        wanted = entry.values(entry.make_options(values))
        return "options" in record and entry.values(entry.make_options(record["options"])) == wanted
    except ReproError:
        return False
