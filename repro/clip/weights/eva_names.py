"""Names of the tensors of EVA-CLIP's own checkpoints (EVA02-CLIP, CLIPSelf, DenseVLM) and of open_clip's EVA models.

EVA-CLIP's code has the image encoder directly under ``visual.`` and its own names for the attention's biases, the inner
norms and the three matrices of SwiGLU; open_clip wraps timm's ``Eva`` as ``visual.trunk.`` (docs/specs/densevlm.md,
section 1). The text tower and ``logit_scale`` have the same names in both. Tensors are neither copied nor changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

_BLOCK = {  # within ``blocks.<i>.``: EVA02's separate projections and SwiGLU; EVA01's joint ``qkv`` keeps its names
    "attn.q_bias": "attn.q_proj.bias",
    "attn.v_bias": "attn.v_proj.bias",
    "attn.inner_attn_ln.": "attn.norm.",
    "mlp.w1.": "mlp.fc1_g.",
    "mlp.w2.": "mlp.fc1_x.",
    "mlp.ffn_ln.": "mlp.norm.",
    "mlp.w3.": "mlp.fc2.",
}
_TABLES = re.compile(r"(^|\.)rope\.freqs_(cos|sin)$")
_EVA, _TRUNK = "visual.", "visual.trunk."


def has_eva_names(state: Mapping[str, object]) -> bool:
    """Tell whether ``state`` is named as EVA-CLIP names its models."""
    return "visual.patch_embed.proj.weight" in state


def from_eva(state: Mapping[str, T]) -> dict[str, T]:
    """Return an EVA-CLIP state dict under open_clip's names.

    The tables of the rotary embedding are left out (open_clip computes them), and so is a stored causal mask.
    """
    joint = any(name.endswith("attn.qkv.weight") for name in state)
    renamed = {}
    for name, tensor in state.items():
        if _TABLES.search(name) or name.endswith("attn_mask"):
            continue
        if name.startswith(_EVA):
            name = _TRUNK + _rename(name.removeprefix(_EVA), {} if joint else _BLOCK)
        renamed[name] = tensor
    return renamed


def to_eva(state: Mapping[str, T]) -> dict[str, T]:
    """Return an open_clip state dict of an EVA model under EVA-CLIP's names: the inverse of :func:`from_eva`.

    EVA-CLIP's code recomputes the tables of the rotary embedding for the resolution it is built for.
    """
    joint = any(name.endswith("attn.qkv.weight") for name in state)
    back = {} if joint else {ours: theirs for theirs, ours in _BLOCK.items()}
    return {
        _EVA + _rename(name.removeprefix(_TRUNK), back) if name.startswith(_TRUNK) else name: tensor
        for name, tensor in state.items()
    }


def _rename(name: str, table: Mapping[str, str]) -> str:
    match = re.fullmatch(r"(blocks\.\d+\.)(.+)", name)
    if match is None:
        return name
    block, rest = match.groups()
    for old, new in table.items():
        if rest.startswith(old):
            return block + new + rest.removeprefix(old)
    return name
