"""What trains: the region features of a tower as one module, its last blocks, and the groups of the optimiser."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.clip.tower import ClipTower
from repro.metrics.regions.roi_align import roi_align

_OPEN = 1e-4
"""Share of the drawn map beside the texts' strongest direction: it decides only where texts say next to nothing."""


class RegionFeatures(nn.Module):
    """A tower as a module from images and boxes to region features, which is what processes synchronise.

    The released code calls a method of the wrapped model instead of the wrapper, so that nothing is synchronised.
    ``projection`` is applied to what comes out, in float32.
    """

    def __init__(self, tower: ClipTower, projection: nn.Linear | None = None) -> None:
        super().__init__()
        self.tower, self.projection = tower, projection

    def forward(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Return RoIAlign features (B, R, C) of ``boxes`` on the unit dense map of ``images`` (B, 3, S, S), 0..255."""
        size = (images.shape[-2], images.shape[-1])
        dense = self.tower.dense(images, size=size).map.to(torch.get_default_dtype())
        features = roi_align(F.normalize(dense, dim=1), boxes)
        if self.projection is None:
            return features
        with torch.autocast(features.device.type, enabled=False):
            return self.projection(features)


def make_projection(width: int, wanted: int, seed: int, texts: tuple[Tensor, Tensor] | None = None) -> nn.Linear:
    """Return a linear map from ``width`` to ``wanted`` channels that keeps the angles of regions at first.

    ``texts`` (N, width) and (N, wanted) are embeddings of the same categories by both models: the map then begins as
    the orthogonal one that brings the first nearest to the second (Procrustes), so that what is learned behind it stays
    comparable with text. What they leave open, all without them, is drawn from ``seed`` alone.
    """
    projection = nn.Linear(width, wanted, bias=False)
    nn.init.orthogonal_(projection.weight, generator=torch.Generator().manual_seed(seed))
    if texts is not None:
        own, other = (text.detach().cpu().double() for text in texts)
        shared = other.T @ own
        filled = shared / torch.linalg.matrix_norm(shared, 2) + _OPEN * projection.weight.detach().double()
        left, _, right = torch.linalg.svd(filled, full_matrices=False)
        with torch.no_grad():
            projection.weight.copy_(left @ right)
    return projection


def train_last_blocks(tower: ClipTower, count: int) -> None:
    """Let the last ``count`` image blocks (stages of a ConvNeXt) train and nothing else.

    EVA's query and key of the last block, which its value path leaves out, do not train. In OpenAI's models they are
    part of one matrix with the value: they get a gradient of zero and decay, as in the released code.
    """
    tower.train_only()
    for block in tower.blocks[-count:]:
        block.requires_grad_(True)
    attention = getattr(tower.blocks[-1], "attn", None)
    if tower.spec.last_block == "value":
        for name in ("q_proj", "k_proj"):
            projection = getattr(attention, name, None)
            if isinstance(projection, nn.Module):
                projection.requires_grad_(False)


def param_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return optimiser groups of what trains: matrices decay, vectors (norms, biases) do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"name": "matrices", "params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"name": "vectors", "params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
