"""The decoder's stages over maps of one image, compiled where that serves (docs/performance.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from repro.layers.compiling import LANES, array, scales, serves

if TYPE_CHECKING:
    from repro.layers.compiled_decoder import Stage

TILE = 4
"""The compiled loops take maps whose side is a multiple of this."""
_KERNELS = (3, 1), (2, 0)
"""Rows of a transposed convolution's kernel (4, stride 2) for an even and an odd place, first neighbour first."""


def fits(side: int, widths: Sequence[int]) -> bool:
    """Tell whether the compiled loops take maps of ``side`` and stages of ``widths`` channels."""
    return side % TILE == 0 and len(widths) > 0 and all(width % LANES == 0 for width in widths)


def takes(x: Tensor, side: int, stages: Sequence[UpStage]) -> bool:
    """Tell whether :func:`decode_images` serves for tokens like ``x``, maps of ``side`` and these stages."""
    return serves(x) and fits(side, [stage.conv2.out_channels for stage in stages])


class UpStage(Protocol):
    """What the loops need of a stage (:class:`repro.layers.decoder.UpStage`)."""

    norm1: nn.GroupNorm
    conv2: nn.Conv2d
    norm2: nn.GroupNorm


def decode_images(
    x: Tensor, side: int, stages: Sequence[UpStage], merged: Sequence[Tensor], guided: Sequence[Tensor], head: nn.Conv2d
) -> Tensor:
    """Return logits (B, T, h, w) of tokens ``x`` (B, T, L, C), maps of ``side``.

    ``merged`` (C, D, 4, 4) are the stages' transposed convolutions, ``guided`` (B, D, .., ..) what they add to all maps
    of an image, ``head`` the last 3x3 convolution to one number.
    """
    ready = [packed(kernel, stage) for kernel, stage in zip(merged, stages, strict=True)]
    return torch.stack([_decode(x[i], side, ready, [g[i] for g in guided], head) for i in range(len(x))])


def packed(merged: Tensor, stage: UpStage) -> Stage:
    """Return a stage's parameters as its loops take them."""
    from repro.layers.compiled_decoder import Stage

    parities = [merged[:, :, rows][..., columns] for rows in _KERNELS for columns in _KERNELS]
    up = torch.stack([kernel.permute(2, 3, 0, 1).flatten(0, 2) for kernel in parities])
    return Stage(
        up=array(up),
        norm1=array(scales(stage.norm1)),
        conv=array(stage.conv2.weight.permute(2, 3, 1, 0).flatten(0, 2)),
        norm2=array(scales(stage.norm2)),
        groups=stage.norm1.num_groups,
        eps=stage.norm1.eps,
    )


def _decode(x: Tensor, side: int, stages: Sequence[Stage], guided: Sequence[Tensor], head: nn.Conv2d) -> Tensor:
    from repro.layers.compiled_decoder import decode_maps

    shared = tuple(array(g.permute(1, 2, 0).flatten(0, 1)) for g in guided)
    weight = array(head.weight.permute(0, 2, 3, 1).reshape(9, -1))
    out = x.new_empty(x.shape[0], *guided[-1].shape[1:])
    rows = array(x.reshape(-1, x.shape[2]))
    bias = 0.0 if head.bias is None else float(head.bias)
    decode_maps(rows, side, tuple(stages), shared, weight, bias, out.flatten(1).numpy())
    return out
