"""The miniature's own towers and premises: what ``repro mini`` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.clip.weights import CONFIG_FILE, load_state
from repro.configuration.profiles import load_profile
from repro.console import Log, log
from repro.errors import UsageError, command
from repro.files import make_folder, read_json
from repro.measuring.premises import Premises, measure_premises
from repro.paths import DEFAULT_RUNS
from repro.runs.assets import Assets
from repro.towers.kind import WEIGHTS
from repro.towers.shipped import SUFFIX, Shipped, pack

PROFILE = "mini"


@dataclasses.dataclass(frozen=True)
class MadeTower:
    """A tower that a profile makes by a recipe; ``shipped`` is the file that spares it, None where it is trained."""

    key: str
    title: str
    recipe: Mapping[str, Any]
    shipped: Shipped | None

    def to_json(self) -> dict[str, Any]:
        """Return what is known of it as plain data."""
        found = self.shipped
        facts = {} if found is None else {"content": found.content, "bytes": found.path.stat().st_size, **found.record}
        return {"tower": self.key, "title": self.title, "recipe": dict(self.recipe), "shipped": facts or None}


def made_towers(profile: str = PROFILE, runs: Path = DEFAULT_RUNS) -> list[MadeTower]:
    """List the towers that ``profile`` makes by a recipe, each with the file of the package that spares it."""
    assets = Assets(load_profile(profile), runs, None)
    towers = assets.profile.towers
    made = [key for key in towers if assets.training(key) is not None]
    return [MadeTower(key, towers[key].title, towers[key].recipe, assets.shipped(key)) for key in made]


def train_tower(tower: str, out: Path, profile: str = PROFILE, runs: Path = DEFAULT_RUNS) -> Shipped:
    """Train ``tower`` of ``profile`` by its recipe and pack it as ``out/<tower>.safetensors``, as it is shipped.

    Towers it is made from are made first, or unpacked where they are shipped. A training that was ended goes on.
    Raises UsageError for a tower that is not trained here.
    """
    from repro.mini.captions import all_texts
    from repro.mini.clip.data import tokenize

    assets = Assets(load_profile(profile), runs, None)
    assets.profile.tower(tower)
    training = assets.training(tower)
    if training is None:
        raise UsageError(
            f"tower {tower} of profile {profile} is not trained here",
            expected=", ".join(made.key for made in made_towers(profile, runs)) or "a profile that trains its towers",
            mend=command("repro", "mini", "towers"),
        )
    make_folder(out)
    folder = assets.train_tower(tower, training)
    config = read_json(folder / CONFIG_FILE)
    rows = tokenize(list(all_texts()), config["model_cfg"]["text_cfg"]["context_length"]).unique().tolist()
    record = read_json(folder / training.done)
    facts = {"replaces": training.name, "done": training.done, "config": config, "record": record}
    return pack(load_state(folder / WEIGHTS), rows, facts, out / f"{tower}{SUFFIX}")


def premises(profile: str = PROFILE, runs: Path = DEFAULT_RUNS, device: str = "cpu", log: Log = log) -> Premises:
    """Measure what papers take for granted of CLIP, in about two minutes (docs/miniature.md)."""
    return measure_premises(Assets(load_profile(profile), runs, None), device, log)
