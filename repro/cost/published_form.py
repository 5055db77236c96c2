"""What shared layers would cost in the form their papers' code has, for counts that stand beside published ones.

Our layers give the same results with less work: what guidance adds to queries, keys and convolutions is computed once
per image instead of once per class, identical padded class slots are counted instead of repeated, unused parts of
CLIP's last block are not computed. Published counts are of the longer form; these functions count it from the shapes
alone, by the conventions of :mod:`repro.cost.flops`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from repro.clip.attention import SplitAttention
from repro.layers.class_attention import ClassAggregation
from repro.layers.decoder import UpStage
from repro.layers.tokens import GuidedProjection

NORM_OPERATIONS, BILINEAR_OPERATIONS = 5, 4
"""Operations an element of a norm's input and of a resized output, by fvcore's rule of thumb."""

Form = Callable[..., int]


def nothing(*_: Any) -> int:
    """Return 0: the published form does this elsewhere."""
    return 0


def projection(layer: GuidedProjection, x: Tensor, *_: Any) -> int:
    """Count queries and keys of [token || guidance] for every token (..., C), values of the token alone.

    With half of the norm of the guidance, which is repeated for every class before a pair of blocks.
    """
    joint = layer.q.in_features
    norm = NORM_OPERATIONS * (joint - layer.dim) // 2
    return x.numel() * (2 * joint + layer.dim) + x.numel() // layer.dim * norm


def class_aggregation(layer: ClassAggregation, x: Tensor, *_: Any) -> int:
    """Count class attention over ``pad_len`` slots at every place, nothing pooled; the resizing then does nothing.

    A slot: q, k, v, 5 operations of each of 2 norms, the MLP, and of linear attention the key-value product and its
    use (C times the width of a head each), the normaliser (C), its product with the result (C / 2, as fvcore rounds).
    """
    batch, classes, places, dim = x.shape
    attention = layer.attention
    qkv = 2 * attention.attention.q.in_features + dim
    hidden = attention.mlp.fc1.out_features
    linear = 2 * dim // attention.heads_sum.shape[-1] + 1
    slot = dim * (qkv + 2 * NORM_OPERATIONS + 2 * hidden + linear + BILINEAR_OPERATIONS) + dim // 2
    return batch * places * max(classes, attention.pad_len) * slot


def up_stage(stage: UpStage, x: Tensor, *_: Any) -> int:
    """Count the upsampling of maps (B T, C, H, W) and two convolutions joined with its guidance, with their norms."""
    maps, dim, height, width = x.shape
    outer = stage.conv1.out_channels
    convolutions = 9 * outer * (dim + outer) + 2 * NORM_OPERATIONS * outer
    return maps * height * width * 4 * (dim * stage.kept + convolutions)


def last_block(attention: SplitAttention, x: Tensor) -> int:
    """Count query, key and value of all tokens and of the class token, all three through the output projection.

    With the class token's share of the block's MLP (ratio 4), which the shorter form leaves out too.
    """
    batch, tokens, dim = x.shape
    return batch * dim * dim * (6 * (tokens + 1) + 8)


FORMS: Mapping[type[nn.Module], Mapping[str, Form]] = {
    GuidedProjection: {"forward": projection, "offset": nothing},
    ClassAggregation: {"forward": class_aggregation},
    UpStage: {"forward": up_stage, "guide": nothing, "merged": nothing},
    SplitAttention: {"value_path": last_block},
}


def forms_of(module: nn.Module) -> Mapping[str, Form]:
    """Return the methods of ``module`` whose published form costs otherwise, with a function of it and its arguments.

    A module of a method may name its own by a method ``published_forms()``.
    """
    own: Callable[[], Mapping[str, Form]] | None = getattr(module, "published_forms", None)
    if own is not None:
        return own()
    return next((forms for kind, forms in FORMS.items() if isinstance(module, kind)), {})
