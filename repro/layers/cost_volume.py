"""The cosine cost volume of places and classes, its pruning and its embedding (docs/specs/catseg.md, Aggregator)."""

from __future__ import annotations

from collections.abc import Sequence

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
    """A convolution over each class's cost map: P prompts to ``dim`` channels.

    A step of a training on a CPU sees maps hardly larger than the kernel: there the convolution is a product with the
    matrix it is, which takes half the time.
    """

    def __init__(self, prompts: int, dim: int, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(prompts, dim, kernel, padding=kernel // 2)

    def forward(self, cost: Tensor) -> Tensor:
        """Map costs (B, P, T, H, W) to tokens (B, T, H W, dim) in raster order."""
        maps = cost.transpose(1, 2).flatten(0, 1)
        kernel = self.conv.kernel_size[0]
        if torch.is_grad_enabled() and cost.is_cpu and maps.shape[-1] * maps.shape[-2] <= 2 * kernel**2:
            matrix = convolution_matrix(self.conv.weight, maps.shape[-2:])
            bias = self.conv.bias.expand(matrix.shape[1], -1)  # type: ignore[union-attr]
            tokens = torch.addmm(bias.flatten(), maps.flatten(1), matrix.flatten(1))
        else:
            tokens = self.conv(maps.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)
        return tokens.reshape(cost.shape[0], cost.shape[2], -1, self.conv.out_channels)


def convolution_matrix(weight: Tensor, size: Sequence[int]) -> Tensor:
    """Return the matrix (P H W, H W, C) that a convolution with ``weight`` (C, P, k, k), padded by k // 2, is on maps.

    Its row is a place of a map (P, H, W), then come a place of the result and a channel.
    """
    channels, maps, side, _ = weight.shape
    rows, columns = (taps_between(n, side, weight.device) for n in size)
    inside = (rows[:, None, :, None] >= 0) & (columns[None, :, None, :] >= 0)
    tap = torch.where(inside, rows[:, None, :, None] * side + columns[None, :, None, :], side * side)
    table = F.pad(weight.permute(1, 2, 3, 0).flatten(1, 2), (0, 0, 0, 1))  # the last row is what lies outside
    if maps > 1:
        tap = tap + (side * side + 1) * torch.arange(maps, device=weight.device).view(-1, 1, 1, 1, 1)
    places = size[0] * size[1]
    return F.embedding(tap.flatten(), table.flatten(0, 1)).view(-1, places, channels)


def taps_between(size: int, side: int, device: torch.device) -> Tensor:
    """Return which tap (size, size) of a kernel of ``side`` joins a place before to a place after; -1 for none."""
    place = torch.arange(size, device=device)
    tap = place.unsqueeze(1) - place + side // 2
    return torch.where((tap >= 0) & (tap < side), tap, -1)
