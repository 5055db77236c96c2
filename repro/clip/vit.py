"""Dense features of open_clip's ViT as the CAT-Seg family uses them (docs/specs/catseg.md, CLIP towers)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from repro.clip.attention import SplitAttention, split_attention_
from repro.clip.backbone import Backbone, DenseFeatures, DenseOptions, as_map, attach
from repro.clip.positions import resize_position


def vit_backbone(visual: Any) -> Backbone:
    """Return an open_clip ``VisionTransformer`` as a backbone; its joint attention is split in place."""
    split_attention_(visual.transformer)
    blocks = visual.transformer.resblocks
    return Backbone(
        blocks=blocks,
        channels=(visual.conv1.out_channels,) * len(blocks),
        strides=(visual.patch_size[0],) * len(blocks),
        embed_dim=visual.output_dim,
        residual="cls",
        features=dense_features,
    )


def dense_features(visual: Any, images: Tensor, guides: Sequence[int], options: DenseOptions) -> DenseFeatures:
    """Compute dense features of normalised ``images`` (B, 3, H, W) by an open_clip ``VisionTransformer``.

    All blocks but the last run as trained. In the last, ``value`` takes only the value path of the attention, whose
    residual is the class token's input for every place (``cls``) or each token's own (``token``); ``full`` runs it
    as trained. ``guides`` are indices of blocks (0 is the first) whose outputs are returned as maps.
    """
    x = visual.conv1(images)
    grid = (x.shape[-2], x.shape[-1])
    x = x.flatten(2).transpose(1, 2)
    position = resize_position(visual.positional_embedding, visual.grid_size, grid, antialias=options.antialias)
    position = position.to(x.dtype)
    first = (visual.class_embedding.to(x.dtype) + position[0]).expand(x.shape[0], 1, -1)
    x = visual.ln_pre(torch.cat([first, x + position[1:]], dim=1))
    blocks = visual.transformer.resblocks
    outputs: dict[int, Tensor] = {}
    for index, block in enumerate(blocks):
        if index == len(blocks) - 1 and options.last_block == "value":
            break
        x = block(x)
        if index in guides:
            outputs[index] = x
    x = x[:, 1:] if options.last_block == "full" else _value_block(blocks[-1], x, options.residual)
    x = visual.ln_post(x)
    if visual.proj is not None:
        x = x @ visual.proj
    return DenseFeatures(as_map(x, grid), tuple(as_map(outputs[i][:, 1:], grid) for i in guides))


def _value_block(block: Any, x: Tensor, residual: Literal["cls", "token"]) -> Tensor:
    attention: SplitAttention = block.attn
    tokens = x[:, 1:]
    own = x[:, :1] if residual == "cls" else tokens
    x = own + block.ls_1(attention.value_path(block.ln_1(tokens)))
    x = x + block.ls_2(block.mlp(block.ln_2(x)))
    return attach(x, (attention.q_proj_weight, attention.k_proj_weight))
