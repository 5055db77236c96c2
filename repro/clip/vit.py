"""Dense features of an open_clip vision transformer as the CAT-Seg family uses them (specs/catseg.md, CLIP towers)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.clip.attention import SplitAttention


class DenseFeatures(NamedTuple):
    """What a tower knows of an image, place by place.

    ``map`` (B, C, h, w) lies in the space of the text features (not normalised). ``guides`` are the outputs of chosen
    blocks as maps (B, width, h, w).
    """

    map: Tensor
    guides: tuple[Tensor, ...]


def resize_position(embedding: Tensor, grid: int) -> Tensor:
    """Positional embedding (1 + n * n, C), class token first, for a ``grid`` x ``grid`` map: bicubic, no antialias.

    (open_clip's own resizing uses antialiasing, the papers' code does not.)
    """
    side = round((embedding.shape[0] - 1) ** 0.5)
    if side == grid:
        return embedding
    places = embedding[1:].T.reshape(1, -1, side, side)
    places = F.interpolate(places, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([embedding[:1], places[0].flatten(1).T])


def dense_features(
    visual: Any,
    images: Tensor,
    guides: Sequence[int],
    last_block: Literal["value", "full"],
    residual: Literal["cls", "token"],
) -> DenseFeatures:
    """Dense features of normalised ``images`` (B, 3, S, S) by an open_clip ``VisionTransformer``.

    All blocks but the last run as trained. In the last, ``value`` takes only the value path of the attention, whose
    residual is the class token's input for every place (``cls``) or each token's own (``token``); ``full`` runs it
    as trained. ``guides`` are indices of blocks (0 is the first) whose outputs are returned as maps.
    """
    x = visual.conv1(images)
    grid = x.shape[-1]
    x = x.flatten(2).transpose(1, 2)
    position = resize_position(visual.positional_embedding, grid).to(x.dtype)
    first = (visual.class_embedding.to(x.dtype) + position[0]).expand(x.shape[0], 1, -1)
    x = visual.ln_pre(torch.cat([first, x + position[1:]], dim=1))
    blocks = visual.transformer.resblocks
    outputs: dict[int, Tensor] = {}
    for index, block in enumerate(blocks):
        if index == len(blocks) - 1 and last_block == "value":
            break
        x = block(x)
        if index in guides:
            outputs[index] = x
    x = x[:, 1:] if last_block == "full" else _value_block(blocks[-1], x, residual)
    x = visual.ln_post(x)
    if visual.proj is not None:
        x = x @ visual.proj
    return DenseFeatures(_as_map(x, grid), tuple(_as_map(outputs[i][:, 1:], grid) for i in guides))


def _value_block(block: Any, x: Tensor, residual: Literal["cls", "token"]) -> Tensor:
    attention: SplitAttention = block.attn
    tokens = x[:, 1:]
    own = x[:, :1] if residual == "cls" else tokens
    x = own + block.ls_1(attention.value_path(block.ln_1(tokens)))
    x = x + block.ls_2(block.mlp(block.ln_2(x)))
    if attention.q_proj_weight.requires_grad and torch.is_grad_enabled():
        # The query weight of this block trains by name but has no part in the result. In the official code its
        # gradient is zero, not absent; distributed training would wait for an absent one.
        x = x + 0.0 * attention.q_proj_weight.sum()
    return x


def _as_map(tokens: Tensor, grid: int) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, (grid, grid))
