"""What installed methods offer for figures has the documented keys, shapes and ranges."""

from __future__ import annotations

import pytest
import torch

from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.methods import registry

NAMES = ["sky", "dog", "grass"]
SMOKE = load_profile("smoke")


@pytest.mark.parametrize("name", sorted(registry()))
def test_maps_are_one_a_class_and_in_range(name: str):
    entry = registry()[name]
    options = entry.make_options(SMOKE.methods.get(name, {}).get("base", {}))
    method = entry.create(build_tower(SMOKE.towers["base"].spec), options).eval()
    maps = method.diagnostics(255 * torch.rand(2, 3, 40, 56), NAMES)
    assert maps.keys() <= {"saliency", "attention", "foreground", "correlation"}
    for key, value in maps.items():
        assert value.shape[:2] == (2, len(NAMES)), key
        assert value.ndim == 4
        assert value.isfinite().all()
        assert not value.requires_grad
    if "correlation" in maps:
        assert maps["correlation"].abs().max() <= 1 + 1e-5 or name not in ("clip", "catseg")
    if "foreground" in maps:
        assert set(maps["foreground"].unique().tolist()) <= {0.0, 1.0}
    if "saliency" in maps:
        assert maps["saliency"].min() >= 0


def test_zero_shot_clip_and_catseg_start_from_the_same_correlation():
    found = []
    for name in ("clip", "catseg"):
        entry = registry()[name]
        options = entry.make_options(SMOKE.methods.get(name, {}).get("base", {}))
        method = entry.create(build_tower(SMOKE.towers["base"].spec), options).eval()
        torch.manual_seed(0)
        found.append(method.diagnostics(255 * torch.rand(1, 3, 48, 48), NAMES)["correlation"])
    torch.testing.assert_close(found[0], found[1])
