"""Every kind of tower passes the checks that the harness rests on."""

from __future__ import annotations

import dataclasses

from repro.clip.spec import TowerSpec
from repro.configuration.profiles import load_profile
from repro.mini.clip.training import TEST_RECIPE
from repro.testing import TowerTester
from repro.towers.kind import TowerPlan

SPEC = TowerSpec(model="tiny", weights=None, resolution=48)
READ_OUT = TowerSpec(model="", weights=None, resolution=32)
RECIPE = dataclasses.asdict(TEST_RECIPE)
ALIGNED = load_profile("smoke").towers["densevlm"]


class TestRandom(TowerTester):
    plan = TowerPlan("random", "random", SPEC)
    other = TowerPlan("random", "random", dataclasses.replace(SPEC, seed=1))


class TestOpenClip(TowerTester):
    plan = TowerPlan("open_clip", "drawn", SPEC)
    other = TowerPlan("open_clip", "drawn", dataclasses.replace(SPEC, seed=1))
    absent = TowerPlan("open_clip", "fetched", dataclasses.replace(SPEC, weights="absent.safetensors"))


class TestTiny(TowerTester):
    plan = TowerPlan("tiny", "tiny", READ_OUT, RECIPE)
    other = TowerPlan("tiny", "tiny", READ_OUT, {**RECIPE, "seed": 1})


class TestAligned(TowerTester):
    plan = ALIGNED
    other = dataclasses.replace(ALIGNED, recipe={**ALIGNED.recipe, "seed": 1})
