"""Names of tensors as wrappers of training code and Hugging Face's ``CLIPModel`` write them, turned into open_clip's.

The layout of ``CLIPModel`` (Hugging Face transformers): ``vision_model`` and ``text_model`` with ``embeddings`` and
``encoder.layers.<i>``, projections as linear layers without bias, query, key and value as three linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

PREFIXES = ("_orig_mod.", "module.", "model.", "clip.", "clip_model.", "network.", "net.")
"""What torch.compile, DistributedDataParallel and training code put before every name."""

_TOP = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",  # spelled so there
    "vision_model.post_layernorm.": "visual.ln_post.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
}
_BLOCK = {
    "layer_norm1.": "ln_1.",
    "layer_norm2.": "ln_2.",
    "mlp.fc1.": "mlp.c_fc.",
    "mlp.fc2.": "mlp.c_proj.",
    "self_attn.out_proj.": "attn.out_proj.",
}
_PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_INPUT = re.compile(r"(.*)\.self_attn\.[qkv]_proj\.(weight|bias)")


def without_common_prefix(state: Mapping[str, T]) -> tuple[str, dict[str, T]]:
    """Return the prefix of wrappers that all names of ``state`` share (empty: none), and ``state`` without it."""
    removed, named = "", dict(state)
    while found := next((p for p in PREFIXES if named and all(n.startswith(p) and n != p for n in named)), None):
        removed += found
        named = {name.removeprefix(found): value for name, value in named.items()}
    return removed, named


def has_huggingface_names(state: Mapping[str, object]) -> bool:
    """Tell whether ``state`` is named as Hugging Face's ``CLIPModel`` names its tensors, of both towers."""
    return {"vision_model.embeddings.patch_embedding.weight", "text_model.embeddings.token_embedding.weight"} <= set(
        state
    )


def from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of ``CLIPModel`` under open_clip's names and in its layout; what is unknown keeps its name.

    Projections are transposed; query, key and value become one matrix (their order is that of torch's
    MultiheadAttention). The tables ``position_ids`` are left out.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _INPUT.fullmatch(name)
        if name.endswith(".embeddings.position_ids"):
            continue
        if name in _PROJECTIONS and tensor.ndim == 2:
            renamed[_PROJECTIONS[name]] = tensor.t()
        elif match and (parts := _parts(state, *match.groups())):
            joint = f"{_rename(match[1] + '.')}attn.in_proj_{match[2]}"
            if joint not in renamed:
                renamed[joint] = torch.cat(parts)
        else:
            renamed[_rename(name)] = tensor
    return renamed


def _parts(state: Mapping[str, Tensor], block: str, kind: str) -> list[Tensor]:
    """Return query, key and value of a block in this order; empty where they are not three of one shape."""
    names = [f"{block}.self_attn.{part}_proj.{kind}" for part in "qkv"]
    tensors = [state[n] for n in names if n in state]
    fit = len(tensors) == 3 and len({(t.shape, t.dtype) for t in tensors}) == 1 and tensors[0].ndim > 0
    return tensors if fit else []


def _rename(name: str) -> str:
    for theirs, ours in _TOP.items():
        if name.startswith(theirs):
            rest = name.removeprefix(theirs)
            if ours.endswith("resblocks."):
                number, _, inner = rest.partition(".")
                known = next((old for old in _BLOCK if inner.startswith(old)), None)
                rest = f"{number}.{_BLOCK[known] + inner.removeprefix(known) if known else inner}"
            return ours + rest
    return name
