"""What all image encoders of CLIP have in common: their sizes, what is asked of them and what they answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from repro.errors import UsageError


class DenseFeatures(NamedTuple):
    """What a tower knows of an image, place by place.

    ``map`` (B, C, h, w) lies in the space of the text features (not normalised). ``guides`` are the outputs of chosen
    blocks as maps (B, channels, height, width): of the map's own size for transformers, else of the stage's.
    """

    map: Tensor
    guides: tuple[Tensor, ...]


class DenseOptions(NamedTuple):
    """How dense features are computed; the fields of the same name of :class:`repro.clip.spec.TowerSpec`."""

    last_block: Literal["value", "full"]
    residual: Literal["cls", "token"]
    antialias: bool


@dataclasses.dataclass(frozen=True)
class Backbone:
    """One image encoder: ``blocks`` are its transformer blocks, or the stages of ConvNeXt and ResNet.

    ``channels`` and ``strides`` (pixels per place) are those of the output of each block; ``embed_dim`` is the width of
    dense features. ``residual`` is the default of ``dense_residual`` (None: the last block has no value path).
    ``features`` computes dense features of normalised images of any size.
    """

    blocks: Sequence[nn.Module]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    embed_dim: int
    residual: Literal["cls", "token"] | None
    features: Callable[[Any, Tensor, Sequence[int], DenseOptions], DenseFeatures]


def as_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return tokens (B, h * w, C) of the places of a grid as a map (B, C, h, w)."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def attach(x: Tensor, unused: Iterable[Tensor | None]) -> Tensor:
    """Return ``x`` with a gradient of zero, not none, for the ``unused`` parameters that train.

    Query and key of the last block train by name but have no part in its value path. In the official code of CAT-Seg
    their gradient is zero, not absent; distributed training would wait for an absent one.
    """
    if torch.is_grad_enabled():
        for parameter in unused:
            if parameter is not None and parameter.requires_grad:
                x = x + 0.0 * parameter.sum()
    return x


def unsupported(name: str, found: str) -> UsageError:
    """Return the error for a model whose architecture gives no dense features here."""
    return UsageError(
        f"the architecture of {name} is not supported",
        expected="a plain vision transformer, ConvNeXt, EVA or CLIP's ResNet with a plain text transformer, such as "
        "ViT-B-16-quickgelu, convnext_large_d_320, EVA02-B-16 or RN50x4-quickgelu",
        found=found,
        mend="choose another model",
    )
