"""SS2D, the two-dimensional selective scan of VMamba (Liu et al., NeurIPS 2024, arXiv:2401.10166)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.layers.norms import LayerNorm
from repro.layers.selective_scan import selective_scan

DIRECTIONS = 4
MIN_STEP, MAX_STEP = 1e-3, 1e-1
"""Range of the initial step sizes, log-uniform (Mamba, Sec. 3.6 and the released code)."""


def cross_scan(x: Tensor) -> Tensor:
    """Return four readings (B, 4, H W, C) of a map (B, H, W, C): by rows, by columns, and both backwards."""
    forward = torch.stack([x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)], dim=1)
    return torch.cat([forward, forward.flip(2)], dim=1)


def cross_merge(y: Tensor, height: int, width: int) -> Tensor:
    """Return the sum (B, H, W, C) of four readings (B, 4, H W, C), each put back in its place."""
    rows, columns = (y[:, :2] + y[:, 2:].flip(2)).unbind(1)
    return rows.unflatten(1, (height, width)) + columns.unflatten(1, (width, height)).transpose(1, 2)


class SS2D(nn.Module):
    """Linear, depth-wise 3x3 convolution, SiLU, four selective scans, their sum, LayerNorm, linear.

    Without the multiplicative gate of the first version, with a state of one number per channel and no expansion: the
    settings of the released VMamba models. ``state`` is the size of a channel's state, ``expansion`` the inner width
    over ``dim``; step sizes come from a bottleneck of ``dim / 16``.
    """

    def __init__(self, dim: int, state: int = 1, expansion: float = 1.0) -> None:
        super().__init__()
        inner, rank = int(dim * expansion), math.ceil(dim / 16)
        self.split = (rank, state, state)
        self.in_proj = nn.Linear(dim, inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.x_proj = nn.Parameter(torch.empty(DIRECTIONS, inner, sum(self.split)).uniform_(-1, 1) / math.sqrt(inner))
        self.step_weight = nn.Parameter(torch.empty(DIRECTIONS, rank, inner).uniform_(-1, 1) / math.sqrt(rank))
        step = torch.empty(DIRECTIONS, inner).uniform_(math.log(MIN_STEP), math.log(MAX_STEP)).exp()
        self.step_bias = nn.Parameter(step + (-(-step).expm1()).log())  # the inverse of softplus
        self.a_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(DIRECTIONS, inner, 1))
        self.skip = nn.Parameter(torch.ones(DIRECTIONS, inner))
        self.norm = LayerNorm(inner)
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def undecayed(self) -> list[nn.Parameter]:
        """Return parameters that weight decay would harm in their meaning (time constants and skips), as in Mamba."""
        return [self.a_log, self.skip, self.step_bias]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H, W, C)."""
        maps = self.conv(self.in_proj(x).permute(0, 3, 1, 2))
        u = cross_scan(F.silu(maps).permute(0, 2, 3, 1))
        step, b, c = torch.einsum("bkld,kdc->bklc", u, self.x_proj).split(self.split, dim=-1)
        step = torch.einsum("bklr,krd->bkld", step, self.step_weight) + self.step_bias.unsqueeze(1)
        y = selective_scan(u, F.softplus(step), -self.a_log.exp(), b, c, self.skip)
        return self.out_proj(self.norm(cross_merge(y, *x.shape[1:3])))
