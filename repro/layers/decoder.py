"""Upsampling decoder over the maps of a cost volume, class by class, with shared guidance (docs/specs/catseg.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.layers.decoder_sizes import groups
from repro.layers.map_loops import decode_images, takes
from repro.layers.points import to_points
from repro.layers.tokens import add_, per_class

PLACES = 16 * 96**2
"""Places of the last maps that a training step on a CPU decodes at once, see :class:`CostDecoder`."""

Shared = tuple[list[Tensor], list[Tensor]]
"""What :meth:`UpStage.guide` and :meth:`UpStage.merged` return for each stage."""


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups(channels), channels)


class UpStage(nn.Module):
    """Twice the size: transposed convolution, concatenation with guidance, twice (3x3 convolution, GroupNorm, ReLU).

    The first convolution acts on [map || guidance]; its guidance half is computed once per image, for all classes, and
    so is what the bias of the transposed convolution adds. What remains of the two, with nothing between them, is one
    transposed convolution (kernel 4, stride 2) with half of their multiply-adds.
    """

    def __init__(self, dim: int, out_dim: int, guidance_dim: int) -> None:
        super().__init__()
        if guidance_dim >= dim:
            raise ValueError(f"guidance of {guidance_dim} channels leaves none of {dim} for the map")
        self.kept = dim - guidance_dim
        self.up = nn.ConvTranspose2d(dim, self.kept, 2, 2)
        self.conv1 = nn.Conv2d(dim, out_dim, 3, padding=1, bias=False)
        self.norm1 = _norm(out_dim)
        self.conv2 = nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False)
        self.norm2 = _norm(out_dim)

    def guide(self, guidance: Tensor) -> Tensor:
        """Return what all classes share: guidance (B, G, 2H, 2W) and convolution bias (B, out, 2H, 2W)."""
        bias = self.up.bias.to(guidance.dtype).view(1, -1, 1, 1)  # type: ignore[union-attr]
        bias = bias.expand(guidance.shape[0], -1, *guidance.shape[2:])
        share = F.conv2d(torch.cat([bias, guidance], dim=1), self.conv1.weight, padding=1)
        return share.contiguous(memory_format=torch.channels_last)  # the layout of the maps it is added to

    def merged(self) -> Tensor:
        """Return the kernel (C, out, 4, 4) of transposed and first convolution in one, for the map's channels."""
        return F.conv2d(self.up.weight, self.conv1.weight[:, : self.kept], padding=2)

    def forward(self, x: Tensor, guided: Tensor, merged: Tensor | None = None) -> Tensor:
        """Turn maps (B T, C, H, W) and what :meth:`guide` gave into (B T, out, 2H, 2W).

        ``merged`` saves computing :meth:`merged` for every part of the classes again.
        """
        x = F.conv_transpose2d(x, self.merged() if merged is None else merged, stride=2, padding=1)
        x = x.contiguous(memory_format=torch.channels_last)  # a no-op where convolutions keep the layout
        shape = x.shape
        # The batch and class axes as one leading dimension of a channels-last tensor: views, no copies.
        by_image = x.permute(0, 2, 3, 1).view(guided.shape[0], -1, *shape[2:], shape[1])
        x = add_(by_image, guided.permute(0, 2, 3, 1).unsqueeze(1)).view(-1, *shape[2:], shape[1]).permute(0, 3, 1, 2)
        x = F.relu(self.norm1(x), inplace=True)
        return F.relu(self.norm2(self.conv2(x)), inplace=True)


class CostDecoder(nn.Module):
    """Stages that double the map, one per guidance map, and a last 3x3 convolution to one logit per place and class.

    Training on a CPU decodes few classes at a time: a convolution's weight gradient is summed there in float32 over all
    places one after another, which for 171 maps of 96 x 96 is off by 2e-3 of the gradient's maximum (decoder2), for 16
    by 5e-6.
    """

    def __init__(self, dim: int, dims: Sequence[int], guidance_dims: Sequence[int], grid: int) -> None:
        super().__init__()
        self.grid = grid
        widths = [dim, *dims]
        self.stages: Iterable[UpStage] = nn.ModuleList(  # type: ignore[assignment]
            UpStage(a, b, g) for a, b, g in zip(widths[:-1], widths[1:], guidance_dims, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def shared(self, guidance: Sequence[Tensor]) -> Shared:
        """Return what all classes share of projected guidance maps, smallest first."""
        guided = [stage.guide(g) for stage, g in zip(self.stages, guidance, strict=True)]
        return guided, [stage.merged() for stage in self.stages]

    def forward(self, x: Tensor, guidance: Sequence[Tensor], shared: Shared | None = None) -> Tensor:
        """Map tokens (B, T, L, C) and projected guidance maps, smallest first, to logits (B, T, h, w).

        ``shared`` saves computing :meth:`shared` for every part of the classes again.
        """
        guided, merged = self.shared(guidance) if shared is None else shared
        if torch.is_grad_enabled() and x.is_cpu:
            places = x.shape[0] * (self.grid << len(guided)) ** 2
            parts = x.split(max(1, PLACES // max(1, places)), dim=1)
            return torch.cat([self._decode(part, guided, merged) for part in parts], dim=1)

        def part_of(part: Tensor, own: list[Tensor]) -> Tensor:
            return self._decode(part, own, merged)

        return per_class(part_of, x, lambda i: guided if i is None else [g[i : i + 1] for g in guided])

    def _decode(self, x: Tensor, guided: list[Tensor], merged: list[Tensor]) -> Tensor:
        if takes(x, self.grid, list(self.stages)):
            return decode_images(x, self.grid, list(self.stages), merged, guided, self.head)
        batch, classes = x.shape[:2]
        # Tokens last is channels last: a view, and the layout convolutions on a CPU prefer.
        maps = x.reshape(batch * classes, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        for stage, share, kernel in zip(self.stages, guided, merged, strict=True):
            maps = stage(maps, share, kernel)
        return to_points(maps, self.head).view(batch, classes, *maps.shape[2:])
