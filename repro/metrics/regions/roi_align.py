"""RoIAlign with one output cell a region, as a product of two small matrices.

torchvision's kernel (``roi_align`` with output 1x1, sampling_ratio -1, aligned) averages bilinear samples on a regular
grid of ceil(width) x ceil(height) places. Such a grid is a product of two axes, and so is its mean: a region's feature
is ``sum_yx u[y] v[x] map[y, x]`` with the mean of the samples' interpolation weights along each axis. That needs no
compiled operator, costs one batched matrix product and has a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor


def roi_align(maps: Tensor, boxes: Tensor) -> Tensor:
    """Return features (B, R, C) of ``boxes`` (B, R, 4) on ``maps`` (B, C, h, w).

    Boxes are x1, y1, x2, y2 as fractions of the map's sides. A box without extent has the feature 0. Everything is
    computed in the maps' own precision but the places of the samples, which are float32.
    """
    height, width = maps.shape[-2:]
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    rows, columns = _axis(y1 * height, y2 * height, height), _axis(x1 * width, x2 * width, width)
    weights = (rows[..., :, None] * columns[..., None, :]).flatten(2).to(maps.dtype)
    return weights @ maps.flatten(2).transpose(1, 2)


def _axis(begin: Tensor, end: Tensor, size: int) -> Tensor:
    """Return the mean interpolation weights (B, R, size) of samples between ``begin`` and ``end`` (B, R), places."""
    extent = (end - 0.5) - (begin - 0.5)  # in this order: the rounding decides how many samples there are
    count = extent.ceil().clamp(min=0)
    number = torch.arange(int(count.max()) if count.numel() else 0, device=begin.device)
    step = extent / count.clamp(min=1)
    places = (begin - 0.5)[..., None] + (number + 0.5) * step[..., None]
    counted = (number < count[..., None]) & (places >= -1) & (places <= size)
    # Samples less than a place outside of the map take the value of its edge.
    distance = places.clamp(0, size - 1)[..., None] - torch.arange(size, device=begin.device)
    weights = (1 - distance.abs()).clamp(min=0) * counted[..., None]
    return weights.sum(dim=-2) / count.clamp(min=1)[..., None]
