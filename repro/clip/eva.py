"""Dense features of EVA-CLIP's image encoder as CLIPSelf and DenseVLM use them (docs/specs/densevlm.md, section 1).

The encoder is timm's ``Eva`` inside open_clip's ``TimmModel``. Its attention has projections of its own: the suffixes
of what may train are ``q_proj.weight``, ``q_proj.bias``, ``k_proj.weight`` (no bias), ``v_proj.weight`` and
``v_proj.bias``, beside ``q_proj_weight`` and the like of the text tower. Models with a joint ``qkv.weight`` (EVA01)
run too; their projections cannot train apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.clip.backbone import Backbone, DenseFeatures, DenseOptions, as_map, attach, unsupported
from repro.clip.positions import resize_position, rotary_table


def eva_backbone(visual: Any, name: str) -> Backbone:
    """Return an open_clip ``TimmModel`` around timm's ``Eva`` as a backbone.

    Raises UsageError for the relatives of EVA-CLIP that ``Eva`` implements too: post-norm blocks (EVA02-E), register
    tokens, attention pooling (PE), gated attention, learned or per-layer rotary embeddings.
    """
    from timm.layers import RotaryEmbeddingCat
    from timm.models.eva import EvaAttention, EvaBlock

    trunk = visual.trunk
    odd = {
        "post-norm blocks": not all(isinstance(b, EvaBlock) for b in trunk.blocks),
        "another attention": not all(
            isinstance(b.attn, EvaAttention) and b.attn.gate is None for b in trunk.blocks if isinstance(b, EvaBlock)
        ),
        "register tokens": trunk.reg_token is not None or trunk.cls_token is None or trunk.no_embed_class,
        "no absolute positions": trunk.pos_embed is None,
        "attention pooling": trunk.attn_pool is not None,
        "another rotary embedding": trunk.rope is not None
        and not (isinstance(trunk.rope, RotaryEmbeddingCat) and trunk.rope.feat_shape),
        "patch dropout": trunk.patch_drop is not None,
    }
    if any(odd.values()):
        raise unsupported(name, ", ".join(k for k, v in odd.items() if v))
    linear = [m for part in (trunk.head, visual.head) for m in part.modules() if isinstance(m, nn.Linear)]
    return Backbone(
        blocks=trunk.blocks,
        channels=(trunk.embed_dim,) * len(trunk.blocks),
        strides=(trunk.patch_embed.patch_size[0],) * len(trunk.blocks),
        embed_dim=linear[-1].out_features if linear else trunk.embed_dim,
        residual="token",
        features=dense_features,
    )


def register_tiny() -> None:
    """Make the architecture of the model ``tiny-eva`` known to timm: EVA02-CLIP-B/16's options at a test's size."""
    from timm.models import is_model, register_model
    from timm.models.eva import Eva, eva02_base_patch16_clip_224

    def tiny_eva02_clip(pretrained: bool = False, **options: Any) -> Eva:
        size = {"img_size": 48, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 2, "ref_feat_shape": (4, 4)}
        return eva02_base_patch16_clip_224(pretrained=pretrained, **size, **options)

    if not is_model("tiny_eva02_clip"):
        register_model(tiny_eva02_clip)


def dense_features(visual: Any, images: Tensor, guides: Sequence[int], options: DenseOptions) -> DenseFeatures:
    """Compute dense features of normalised ``images`` (B, 3, H, W), pixels that fill no whole patch dropped.

    All blocks but the last run as trained, rotary embedding included. In the last, ``value`` takes only the value path
    of the attention (value projection, inner norm, output projection; no softmax, no rotation), whose residual is each
    token's own input (``token``) or the class token's (``cls``); ``full`` runs it as trained. Every token then takes
    the way of the class token: final norm, head.
    """
    trunk = visual.trunk
    x = trunk.patch_embed.proj(images)
    grid = (x.shape[-2], x.shape[-1])
    x = trunk.patch_embed.norm(x.flatten(2).transpose(1, 2))
    position = resize_position(trunk.pos_embed[0], trunk.patch_embed.grid_size, grid, antialias=options.antialias)
    x = torch.cat([trunk.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + position
    x = trunk.norm_pre(trunk.pos_drop(x))
    rope = rotary_table(trunk.rope, grid)
    outputs: dict[int, Tensor] = {}
    for index, block in enumerate(trunk.blocks):
        if index == len(trunk.blocks) - 1 and options.last_block == "value":
            break
        x = block(x, rope=rope)
        if index in guides:
            outputs[index] = x
    x = x[:, 1:] if options.last_block == "full" else _value_block(trunk.blocks[-1], x, options.residual)
    x = trunk.head(trunk.head_drop(trunk.fc_norm(trunk.norm(x))))
    return DenseFeatures(as_map(visual.head(x), grid), tuple(as_map(outputs[i][:, 1:], grid) for i in guides))


def _value_block(block: Any, x: Tensor, residual: Literal["cls", "token"]) -> Tensor:
    attention = block.attn
    tokens = x[:, 1:]
    own = x[:, :1] if residual == "cls" else tokens
    x = own + block.drop_path1(_scaled(block.gamma_1, _value_path(attention, block.norm1(tokens))))
    x = x + block.drop_path2(_scaled(block.gamma_2, block.mlp(block.norm2(x))))
    if attention.qkv is not None:
        return attach(x, (attention.q_bias,))
    return attach(x, (attention.q_proj.weight, attention.q_proj.bias, attention.k_proj.weight))


def _value_path(attention: Any, x: Tensor) -> Tensor:
    if attention.qkv is None:
        value = attention.v_proj(x)
    else:
        value = F.linear(x, attention.qkv.weight.chunk(3)[2], attention.v_bias)
    path: Tensor = attention.proj_drop(attention.proj(attention.norm(value)))
    return path


def _scaled(gamma: Tensor | None, x: Tensor) -> Tensor:
    return x if gamma is None else gamma * x
