"""Where the linear map of feature distillation begins, chosen on held-out training scenes (docs/reconstruction.md).

Aligns the miniature's tower on all but the last 100 training scenes, from each start, and prints how many labelled
regions of the 100 the base, the powerful model and the results name right (2 CPU minutes each):

    PYTHONPATH=tests/support:. python tests/support/distillation_start.py FOLDER [text|random|decoupled|logits ..]

What is finished in FOLDER is read.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from repro.runtime import prepare

if __name__ == "__main__":
    prepare()

import torch
import torch.nn.functional as F

from baselines.densevlm.data import RegionSet
from baselines.densevlm.teacher import premise
from baselines.densevlm.train import align
from baselines.densevlm.trained import RegionFeatures
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.layout import prepared_pairs
from repro.methods.alignments import WEIGHTS, Labels
from repro.metrics.regions.prompts import VILD63, category_embeddings
from repro.runs.assets import Assets
from repro.towers.aligned import IMAGES, read_recipe

SCENES = 100
CHOICES: dict[str, dict[str, Any]] = {
    "text": {"objective": "features", "projection": "text"},
    "random": {"objective": "features", "projection": "random"},
    "logits": {"objective": "logits"},
    "decoupled": {},
}


def main(folder: Path, choices: list[str]) -> None:
    """Train what is missing and print one line per tower."""
    torch.set_num_threads(1)
    assets = Assets(load_profile("mini"), folder / "runs", None)
    recipe, data = read_recipe(assets.profile, "densevlm"), get_benchmark(IMAGES)
    pairs = prepared_pairs(data, assets.ensure_data(), split="train")
    rest, own = pairs[:-SCENES], pairs[-SCENES:]
    parts = assets.ensure_tower(recipe.base), assets.ensure_tower(recipe.powerful)
    towers: dict[str, TowerSpec] = {"base": parts[0]}
    for name in choices:
        made = align(
            *parts,
            dataclasses.replace(recipe.options, **CHOICES[name]),
            [pair.image for pair in rest],
            folder / name,
            seed=recipe.seed,
            cache=assets.cache / "text",
            labels=Labels(tuple(pair.label for pair in rest), data.prompt_names()),
        )
        spec = assets.profile.towers["densevlm"].spec
        towers[name] = dataclasses.replace(spec, model=str(made), weights=str(made / WEIGHTS))
    seen = RegionSet(
        [pair.image for pair in own],
        recipe.options.image_size,
        recipe.options.max_split,
        0,
        [pair.label for pair in own],
        len(data.prompt_names()),
    )
    powerful = build_tower(parts[1]).eval()
    text = F.normalize(category_embeddings(powerful, data.prompt_names(), None, VILD63), dim=-1)
    for name, spec in towers.items():
        tower = build_tower(spec).eval()
        names = F.normalize(category_embeddings(tower, data.prompt_names(), None, VILD63), dim=-1)
        found = premise((RegionFeatures(powerful), RegionFeatures(tower)), (text, names), seen, (text, 1.0), 0.0)
        print(json.dumps({"tower": name, "right": found.student, "powerful": found.teacher, "regions": found.regions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["text", "random"])
