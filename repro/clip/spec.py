"""What a CLIP tower is built from, as plain data (no torch)."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class TowerSpec:
    """One CLIP tower.

    ``model`` is an open_clip model name (``ViT-B-16-quickgelu``) or a folder that holds ``open_clip_config.json``.
    ``weights`` is an open_clip tag (``openai``), a local file, or None for random weights drawn from ``seed``.
    ``resolution`` is the side in pixels images are resized to for dense features. ``last_block`` and
    ``dense_residual`` choose what the last block does for dense features: CAT-Seg's value path with the class token's
    input as the residual (``value``, ``cls``), each token's own residual (``value``, ``token``), or the block as it
    was trained (``full``).
    """

    model: str = "ViT-B-16-quickgelu"
    weights: str | None = "openai"
    resolution: int = 384
    last_block: Literal["value", "full"] = "value"
    dense_residual: Literal["cls", "token"] = "cls"
    seed: int = 0
