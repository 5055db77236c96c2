"""Hierarchical refinement module (Sec. 3.4): pixel-, category- and semantic-wise, one per branch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disa.options import DisaOptions
from repro.layers.tokens import Mlp
from repro.layers.window_attention import GuidedSwinPair

SQUEEZE = 0.25
"""Hidden over outer width of the MLPs after pooling."""


class PooledMlps(nn.Module):
    """MLP of the average plus another MLP of the maximum (Sec. 3.4, category- and semantic-wise)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.average = Mlp(dim, SQUEEZE, F.gelu)
        self.maximum = Mlp(dim, SQUEEZE, F.gelu)

    def forward(self, average: Tensor, maximum: Tensor) -> Tensor:
        """Map two (..., D) to (..., D)."""
        return self.average(average) + self.maximum(maximum)


class Refinement(nn.Module):
    """HRM of one branch. What the options switch off is not built.

    ``keep`` is a mask (B, N, L), True at the branch's own tokens, or None where all are. Tokens of the other branch
    are no keys; what is computed at their places means nothing and is for the caller to leave out.
    """

    def __init__(self, options: DisaOptions, grid: int) -> None:
        super().__init__()
        o = options
        self.swin = (
            GuidedSwinPair(o.hidden, o.appearance_guidance, o.heads, grid, o.window, o.mlp_ratio) if o.pixel else None
        )
        self.category = PooledMlps(o.hidden) if o.category or o.semantic else None
        self.semantic = PooledMlps(o.hidden) if o.semantic else None
        self.concat_category = o.category
        self.mix = (
            nn.Sequential(
                nn.Linear((o.category + o.semantic) * o.hidden, o.hidden), nn.GELU(), nn.Linear(o.hidden, o.hidden)
            )
            if o.category or o.semantic
            else None
        )

    def guide(self, appearance: Tensor) -> list[Tensor]:
        """Return what appearance guidance (B, L, G) adds to queries and keys; once per image, for all classes."""
        return self.swin.guide(appearance) if self.swin is not None else []

    def pixels(self, x: Tensor, keep: Tensor | None, guided: Sequence[Tensor]) -> Tensor:
        """Return pixel-wise refinement C' of tokens (B, N, L, D)."""
        return x if self.swin is None else self.swin.run(x, guided, keep)

    def prototypes(self, x: Tensor, keep: Tensor | None) -> Tensor | None:
        """Return P_c (B, N, D) of refined tokens (B, N, L, D); zero for a class with no token of the branch."""
        if self.category is None:
            return None
        if x.shape[2] == 0:
            none = x.new_zeros(*x.shape[:2], x.shape[3])
            return 0.0 * self.category(none, none)
        if keep is None:
            return self.category(x.mean(dim=2), x.amax(dim=2))
        count = keep.sum(dim=2, keepdim=True)
        average = (keep.unsqueeze(2).to(x.dtype) @ x).squeeze(2) / count.clamp(min=1)
        maximum = x.masked_fill(~keep.unsqueeze(3), float("-inf")).amax(dim=2)
        some = count > 0
        # An empty class goes through as zeros and is dropped after: infinities would make the gradients NaN.
        return torch.where(some, self.category(average, torch.where(some, maximum, 0.0)), 0.0)

    def gate(self, prototypes: Tensor | None) -> Tensor | None:
        """Return sigmoid(MLP(Concat(P_c, P_s))) of Eqs. 3 and 4, (B, N, D), from P_c (B, N, D) of ALL classes."""
        if self.mix is None or prototypes is None:
            return None
        parts = [prototypes] if self.concat_category else []
        if self.semantic is not None:
            summary = self.semantic(prototypes.mean(dim=1, keepdim=True), prototypes.amax(dim=1, keepdim=True))
            parts.append(summary.expand_as(prototypes))
        return torch.sigmoid(self.mix(torch.cat(parts, dim=-1)))
