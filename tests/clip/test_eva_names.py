from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from repro.clip.models import describe_model
from repro.clip.spec import TowerSpec
from repro.clip.weights.eva_names import from_eva, has_eva_names, to_eva

# depth, width, hidden width of SwiGLU, patch, native grid, output, text width
SIZES = {
    "EVA02-B-16": (12, 768, 2048, 16, 14, 512, 512),
    "EVA02-L-14-336": (24, 1024, 2730, 14, 24, 768, 768),
}
# Of all parameters and of the image encoder's (docs/specs/densevlm.md, section 8).
COUNTS = {"EVA02-B-16": (149_691_137, 86_263_040), "EVA02-L-14-336": (428_083_137, 304_432_832)}

Shapes = dict[str, tuple[int, ...]]


def _layer_norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _eva_clip(model: str) -> Shapes:
    """Names and shapes of the tensors of an EVA-CLIP checkpoint, written down from the specification."""
    depth, width, hidden, patch, grid, output, text = SIZES[model]
    shapes: Shapes = {
        "visual.cls_token": (1, 1, width),
        "visual.pos_embed": (1, 1 + grid * grid, width),
        "visual.patch_embed.proj.weight": (width, 3, patch, patch),
        "visual.patch_embed.proj.bias": (width,),
        "visual.rope.freqs_cos": (grid * grid, 64),
        "visual.rope.freqs_sin": (grid * grid, 64),
        **_layer_norm("visual.norm", width),
        **_linear("visual.head", width, output),
    }
    for index in range(depth):
        block = f"visual.blocks.{index}"
        shapes |= {
            f"{block}.attn.rope.freqs_cos": (grid * grid, 64),
            f"{block}.attn.rope.freqs_sin": (grid * grid, 64),
            f"{block}.attn.q_proj.weight": (width, width),
            f"{block}.attn.k_proj.weight": (width, width),
            f"{block}.attn.v_proj.weight": (width, width),
            f"{block}.attn.q_bias": (width,),
            f"{block}.attn.v_bias": (width,),
            **_layer_norm(f"{block}.attn.inner_attn_ln", width),
            **_linear(f"{block}.attn.proj", width, width),
            **_layer_norm(f"{block}.norm1", width),
            **_layer_norm(f"{block}.norm2", width),
            **_linear(f"{block}.mlp.w1", width, hidden),
            **_linear(f"{block}.mlp.w2", width, hidden),
            **_layer_norm(f"{block}.mlp.ffn_ln", hidden),
            **_linear(f"{block}.mlp.w3", hidden, width),
        }
    shapes |= {
        "logit_scale": (),
        "text.positional_embedding": (77, text),
        "text.text_projection": (text, output),
        "text.token_embedding.weight": (49408, text),
        **_layer_norm("text.ln_final", text),
    }
    for index in range(12):
        block = f"text.transformer.resblocks.{index}"
        shapes |= {
            f"{block}.attn.in_proj_weight": (3 * text, text),
            f"{block}.attn.in_proj_bias": (3 * text,),
            **_linear(f"{block}.attn.out_proj", text, text),
            **_layer_norm(f"{block}.ln_1", text),
            **_layer_norm(f"{block}.ln_2", text),
            **_linear(f"{block}.mlp.c_fc", text, 4 * text),
            **_linear(f"{block}.mlp.c_proj", 4 * text, text),
        }
    return shapes


def _open_clip(model: str) -> Any:
    from open_clip.model import CustomTextCLIP

    config = describe_model(TowerSpec(model, None)).config
    with torch.device("meta"):
        return CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"})


@pytest.mark.parametrize("model", SIZES)
def test_the_published_names_become_open_clips_with_their_shapes(model: str) -> None:
    published = _eva_clip(model)
    parameters = {n: s for n, s in published.items() if "rope" not in n}
    assert sum(math.prod(s) for s in parameters.values()) == COUNTS[model][0]
    assert sum(math.prod(s) for n, s in parameters.items() if n.startswith("visual.")) == COUNTS[model][1]
    ours = {n: tuple(p.shape) for n, p in _open_clip(model).state_dict().items()}
    assert from_eva(published) == ours
    assert to_eva(ours) == parameters


def test_names_are_told_apart() -> None:
    published = _eva_clip("EVA02-B-16")
    assert has_eva_names(published)
    assert not has_eva_names(from_eva(published))


def test_joint_projections_keep_their_names() -> None:
    eva01 = {
        "visual.patch_embed.proj.weight": 0,
        "visual.blocks.3.attn.qkv.weight": 1,
        "visual.blocks.3.attn.q_bias": 2,
        "visual.blocks.3.mlp.fc1.weight": 3,
    }
    renamed = from_eva(eva01)
    assert renamed["visual.trunk.blocks.3.attn.q_bias"] == 2
    assert to_eva(renamed) == eva01
