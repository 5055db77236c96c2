"""What DiSa's saliency step costs beside its forward pass. Run: pytest tests/speed --benchmark-only."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from in_turn import least_seconds
from pytest_benchmark.fixture import BenchmarkFixture

from disa.options import DisaOptions
from disa.sdm import SaliencyModule
from disa.segmenter import Segmenter
from disa.selection import most_salient
from repro.layers.cost_volume import cosine_cost

IMAGES, CLASSES, GRID, WIDTH = 1, 150, 24, 512
ROUNDS = 1


def test_saliency_is_a_twentieth_of_the_forward_pass_at_most(benchmark: BenchmarkFixture) -> None:
    """All of DiSa behind ViT-B/16, at its own sizes, on drawn features; the tower would only add to the whole."""
    torch.manual_seed(0)
    options = DisaOptions()
    sdm = SaliencyModule(WIDTH, options.sdm_layers, options.sdm_head_dim, options.sdm_mlp_ratio)
    segmenter = Segmenter(options, WIDTH, GRID).eval()
    text, features = F.normalize(torch.randn(CLASSES, WIDTH), dim=-1), torch.randn(IMAGES, WIDTH, GRID, GRID)
    guides = [torch.randn(IMAGES, 256, 2 * GRID, 2 * GRID), torch.randn(IMAGES, 128, 4 * GRID, 4 * GRID)]

    def forward() -> dict[str, float]:
        begin = time.process_time()
        cost = cosine_cost(features, text[None, :, None])
        found = sdm(text, features.flatten(2).transpose(1, 2))
        middle = time.process_time()
        mask = most_salient(sdm.saliency(found), options.k)
        saliency = time.process_time() - middle
        segmenter(cost, mask, segmenter.guide(features, guides))
        return {"saliency": saliency, "forward": time.process_time() - begin}

    with torch.inference_mode():
        least = least_seconds(benchmark, forward, lambda s: s["saliency"] < 0.05 * s["forward"], ROUNDS)
    benchmark.extra_info["share_percent"] = round(100 * least["saliency"] / least["forward"], 2)
