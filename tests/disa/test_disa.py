from __future__ import annotations

import torch
from method_tester import NAMES, MethodTester

from disa import METHOD
from disa.model import DiSa

SMALL = {
    "hidden": 16,
    "heads": 2,
    "window": 3,
    "k": 6,
    "sdm_head_dim": 16,
    "appearance_guidance": 12,
    "decoder_dims": (12, 8),
    "decoder_guidance": (16, 8),
    "decoder_guidance_proj": (6, 4),
    "guide_blocks": (0, 0),
}


class TestDiSa(MethodTester):
    entry = METHOD
    options = SMALL
    zero_gradient = tuple(f"visual.transformer.resblocks.1.attn.{p}_proj_weight" for p in "qk")

    def test_gradients_reach_what_trains_and_nothing_else(self, method: DiSa) -> None:
        # A key bias shifts all attention logits of a query alike: its exact gradient is zero, rounding leaves a rest.
        method.train()
        losses = method.loss(self.images(), torch.randint(0, len(NAMES), (2, 60, 72)), NAMES)
        sum(v for k, v in losses.items() if k.startswith("loss")).backward()
        grouped = {id(p) for g in method.param_groups(1.0, 0.1) for p in g["params"]}
        for name, parameter in method.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad == (id(parameter) in grouped), name
            if parameter.grad is None:
                continue
            if name.endswith(self.zero_gradient):
                assert (parameter.grad == 0).all()
            elif not name.endswith("attn.k.bias"):
                assert parameter.grad.abs().max() > 0, name
