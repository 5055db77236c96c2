"""What a CLIP tower is built from, as plain data (no torch)."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TowerSpec:
    """One CLIP tower.

    ``model`` is an open_clip model name (``ViT-B-16-quickgelu``, ``convnext_base_w_320``, ``EVA02-B-16``) or a folder
    that holds ``open_clip_config.json``. ``weights`` is an open_clip tag (``openai``), a local file, or None for
    random weights drawn from ``seed``.

    ``resolution`` is the side in pixels images are resized to for dense features: a multiple of the model's patch (its
    total stride for ConvNeXt and ResNet), unless ``drop_remainder`` says that the pixels at the right and bottom edge
    that fill no whole patch are dropped (as DenseVLM's L/14 does at 512: a 36 x 36 map of 504 pixels).

    ``last_block`` and ``dense_residual`` choose what the last block of a transformer does for dense features: the
    value path alone (``value``) or the block as it was trained (``full``); the residual of the value path is the class
    token's input for every place (``cls``, as CAT-Seg released) or each token's own (``token``, as CLIPSelf and
    DenseVLM). None is what the model's papers did: ``cls`` for plain vision transformers, ``token`` for EVA. ConvNeXt
    and ResNet have no such choice and ignore both.

    ``position`` is how absolute positional embeddings are resized to another grid: ``bicubic`` without antialiasing,
    as the released code of CAT-Seg, CLIPSelf and DenseVLM does, or ``antialias`` as open_clip and timm do by default.
    """

    model: str = "ViT-B-16-quickgelu"
    weights: str | None = "openai"
    resolution: int = 384
    last_block: Literal["value", "full"] = "value"
    dense_residual: Literal["cls", "token"] | None = None
    position: Literal["bicubic", "antialias"] = "bicubic"
    drop_remainder: bool = False
    seed: int = 0
