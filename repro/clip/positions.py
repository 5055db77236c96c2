"""Positions on grids other than the one a model was trained on (docs/specs/catseg.md, docs/specs/densevlm.md)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_position(
    embedding: Tensor, native: tuple[int, int], grid: tuple[int, int], *, antialias: bool = False
) -> Tensor:
    """Resize the absolute positional embedding (1 + h * w, C), class token first, for another grid.

    ``native`` is (h, w), ``grid`` the wanted one. The class token's row is kept, the places are resized bicubically
    with half-pixel centres. Without antialiasing as the released code of CAT-Seg, CLIPSelf and DenseVLM; open_clip and
    timm resize with it, which gives other values even where the grid grows (another kernel: a = -0.5, not -0.75).
    """
    if native == grid:
        return embedding
    places = embedding[1:].T.reshape(1, -1, *native)
    places = F.interpolate(places, size=grid, mode="bicubic", align_corners=False, antialias=antialias)
    return torch.cat([embedding[:1], places[0].flatten(1).T])


def rotary_table(rope: Any, grid: tuple[int, int]) -> Tensor | None:
    """Return sines and cosines (h * w, 2 * head width) of a timm ``RotaryEmbeddingCat`` on a ``grid`` of h x w places.

    EVA02's axial rule: row i of h has the coordinate ``i / h * r``, r the side of the reference grid (16), column j of
    w ``j / w * r``; the class token is not rotated. None where the model has no rotary embedding.
    """
    if rope is None:
        return None
    if tuple(rope.feat_shape) == grid:
        table: Tensor = rope.get_embed()
        return table
    from timm.layers import build_rotary_pos_embed

    sine, cosine = build_rotary_pos_embed(
        list(grid),
        bands=rope.bands,
        in_pixels=rope.in_pixels,
        ref_feat_shape=rope.ref_feat_shape,
        grid_offset=rope.grid_offset,
        grid_indexing=rope.grid_indexing,
        rotate_half=rope.rotate_half,
        dtype=torch.get_default_dtype(),
    )
    return torch.cat([sine, cosine], dim=-1)
