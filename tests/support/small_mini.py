"""A profile with the miniature's tables, a handful of pictures, and a student and a teacher trained in seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from repro.hashing import plain
from repro.mini.clip.training import TEST_RECIPE
from repro.paths import CONFIGS


def small_mini(folder: Path) -> str:
    """Write the profile into ``folder`` and return its path as a word of a command."""
    recipe = plain(dataclasses.asdict(TEST_RECIPE))
    path = folder / "small.py"
    path.write_text(
        f"_base_ = [{str(CONFIGS.resolve() / 'profiles' / 'mini.py')!r}]\n"
        "name = 'small'\ntitle = 'small'\n"
        "data = dict(_delete_=True, kind='synthetic', seed=0, sizes=dict(train=4, ade=2, context=2, voc=2))\n"
        "regions = dict(image_size=32, templates=['{}'])\n"
        f"towers = dict(base=dict(recipe=dict(_delete_=True, **{recipe!r})),\n"
        f"    powerful=dict(recipe=dict(_delete_=True, **{ {**recipe, 'seed': 1}!r})))\n"
    )
    return str(path)
