"""The reading of the paper against its own Table 2: parameters and multiply-adds (docs/reconstruction.md)."""

from __future__ import annotations

from typing import Any

import pytest

from repro.configuration.profiles import load_profile
from repro.cost.estimate import InferenceCost, count_inference
from repro.methods import get_method

CLASSES = [f"class {i}" for i in range(150)]


def cost(method: str, **options: Any) -> InferenceCost:
    """One sliding-window inference with 150 classes on ViT-L/14@336, as Table 2 counts it."""
    profile, entry = load_profile("paper"), get_method(method)
    return count_inference(entry, profile.towers["large"].spec, entry.make_options(options), profile.protocol, CLASSES)


def test_disa_and_catseg_have_the_published_budget() -> None:
    disa, catseg = cost("disa"), cost("catseg")
    assert catseg.parameters / 1e6 == pytest.approx(433.7, abs=0.05)
    assert catseg.gflops == pytest.approx(2121.1, abs=0.05)
    assert disa.parameters / 1e6 == pytest.approx(456.2, rel=0.005)
    assert disa.gflops == pytest.approx(2287.3, rel=0.015)


@pytest.mark.slow
def test_one_aggregation_layer_does_not_have_it() -> None:
    assert cost("disa", aggregation_layers=1).gflops < 0.92 * 2287.3
