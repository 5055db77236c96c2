"""Names of CLIP models and weights this project relies on, as plain data (no torch)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class TagSource:
    """Where the weights of one (model, tag) come from: a repository of the Hugging Face hub, a file, or both."""

    hub: str
    """Repository id, e.g. ``timm/vit_base_patch16_clip_224.openai``; empty where there is none."""
    file: str
    """Name of the original file as it lies in ``~/.cache/clip``, e.g. ``ViT-B-16.pt``; empty where there is none."""
    quick_gelu: bool
    """True where the weights were trained with QuickGELU, so that a model with GELU would compute something else."""


# open_clip lists the tag ``openai`` for the plain names too and then builds GELU with a mere warning: the plain names
# are here so that the mistake is an error (repro.clip.weights).
_OPENAI_B = TagSource("timm/vit_base_patch16_clip_224.openai", "ViT-B-16.pt", True)
_OPENAI_L = TagSource("timm/vit_large_patch14_clip_336.openai", "ViT-L-14-336px.pt", True)
_OPENAI_R = TagSource("timm/resnet50x4_clip.openai", "RN50x4.pt", True)
TAGS: Mapping[tuple[str, str], TagSource] = {
    ("ViT-B-16-quickgelu", "openai"): _OPENAI_B,
    ("ViT-B-16", "openai"): _OPENAI_B,
    ("ViT-L-14-336-quickgelu", "openai"): _OPENAI_L,
    ("ViT-L-14-336", "openai"): _OPENAI_L,
    ("ViT-B-16", "laion2b_s34b_b88k"): TagSource("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "", False),
    ("RN50x4-quickgelu", "openai"): _OPENAI_R,
    ("RN50x4", "openai"): _OPENAI_R,
    ("EVA02-B-16", "merged2b_s8b_b131k"): TagSource("timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k", "", False),
    ("convnext_base_w_320", "laion_aesthetic_s13b_b82k_augreg"): TagSource(
        "laion/CLIP-convnext_base_w_320-laion_aesthetic-s13B-b82K-augreg", "", False
    ),
    ("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"): TagSource(
        "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup", "", False
    ),
}
"""Tags that profiles name, so that a plan asks nobody; other tags are looked up in open_clip, which imports torch."""

HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""What open_clip calls a weights file on the hub, in the order it prefers them."""

TINY: Mapping[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 48, "patch_size": 8, "width": 64, "head_width": 32, "layers": 2, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1, "mlp_ratio": 2.0},
}
"""open_clip configuration of the model ``tiny``: for plumbing checks and tests, always with random weights."""

TINY_EVA: Mapping[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 48, "timm_model_name": "tiny_eva02_clip", "timm_pool": "token", "timm_proj": None},
    "text_cfg": TINY["text_cfg"],
    "custom_text": True,
}
"""EVA02-CLIP at the size of ``tiny`` (patch 8, width 64, 3 blocks; repro.clip.eva names the architecture)."""

TINY_CONVNEXT: Mapping[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear"},
    "text_cfg": TINY["text_cfg"],
}
"""A ConvNeXt CLIP around timm's own test size (stages of 24, 32, 48 and 64 channels)."""

TINY_RESNET: Mapping[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": TINY["text_cfg"],
}
"""CLIP's ResNet at the size of ``tiny`` (stages of 32, 64, 128 and 256 channels)."""

BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "tiny": TINY,
    "tiny-eva": TINY_EVA,
    "tiny-convnext": TINY_CONVNEXT,
    "tiny-resnet": TINY_RESNET,
}
"""Configurations that are ours and need no folder."""


def uses_quick_gelu(model: str) -> bool:
    """Tell whether the open_clip model name stands for QuickGELU; open_clip says so in the name."""
    return model.endswith("-quickgelu")
