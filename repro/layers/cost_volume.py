"""The cosine cost volume of places and classes, its pruning and its embedding (docs/specs/catseg.md, Aggregator)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def cosine_cost(features: Tensor, text: Tensor) -> Tensor:
    """Return cosines (B, P, T, H, W) of dense ``features`` (B, C, H, W) and normalised ``text`` (B or 1, T, P, C)."""
    features = F.normalize(features, dim=1)
    batch, _, height, width = features.shape
    flat = text.transpose(1, 2).flatten(1, 2)
    cost = flat.expand(batch, -1, -1) @ features.flatten(2)
    return cost.view(batch, text.shape[2], text.shape[1], height, width)


def top_classes(cost: Tensor, count: int) -> Tensor:
    """Return the ``count`` classes (B, count), in ascending order, with the largest maximum over places and prompts."""
    return cost.amax(dim=(1, 3, 4)).topk(count, dim=1).indices.sort(dim=1).values


def scatter_logits(logits: Tensor, chosen: Tensor, classes: int, fill: float) -> Tensor:
    """Return logits (B, count, H, W) of the ``chosen`` classes (B, count) among ``classes``; others get ``fill``."""
    full = logits.new_full((logits.shape[0], classes, *logits.shape[2:]), fill)
    return full.scatter(1, chosen[:, :, None, None].expand_as(logits), logits)


class CostEmbedding(nn.Module):
    """A convolution over each class's cost map: P prompts to ``dim`` channels."""

    def __init__(self, prompts: int, dim: int, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(prompts, dim, kernel, padding=kernel // 2)

    def forward(self, cost: Tensor) -> Tensor:
        """Map costs (B, P, T, H, W) to tokens (B, T, H W, dim) in raster order."""
        maps = cost.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        tokens = self.conv(maps).permute(0, 2, 3, 1)
        return tokens.reshape(cost.shape[0], cost.shape[2], -1, tokens.shape[-1])
