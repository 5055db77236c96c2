"""Joining the branches (Sec. 3.5) and the Swin blocks after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from disa.options import DisaOptions
from repro.layers.window_attention import GuidedSwinPair


class Aggregation(nn.Module):
    """C~ from the two branches, then pairs of Swin blocks over all tokens of each class.

    ``mask`` gives each place the value of its own branch; ``sum`` adds the branches, which is the same where the mask
    is binary, as the parts do not overlap; ``concat`` maps both to D channels; ``learned`` weighs by a sigmoid.
    """

    def __init__(self, options: DisaOptions, grid: int) -> None:
        super().__init__()
        o = options
        self.kind = o.aggregation
        split = o.splits != "none"
        self.join = nn.Linear(2 * o.hidden, o.hidden) if split and self.kind in ("concat", "learned") else None
        self.layers = nn.ModuleList(
            GuidedSwinPair(o.hidden, o.appearance_guidance, o.heads, grid, o.window, o.mlp_ratio)
            for _ in range(o.aggregation_layers)
        )

    def merge(self, parts: Sequence[Tensor], mask: Tensor | None) -> Tensor:
        """Return C~ (B, N, L, D).

        ``parts`` is one tensor that holds at each place the token of its own branch (binary ``mask`` (B, N, L), or
        None without a split), or the foreground's and the background's (soft ``mask``).
        """
        if mask is None:
            return parts[0]
        weight = mask.unsqueeze(3)
        if self.join is None:
            if len(parts) == 1:
                return parts[0]
            foreground, background = parts
            return (
                foreground + background
                if self.kind == "sum"
                else background + weight.to(background.dtype) * (foreground - background)
            )
        if len(parts) == 1:
            parts = [parts[0] * weight, parts[0] * ~weight]
        foreground, background = parts
        joined = self.join(torch.cat([foreground, background], dim=-1))
        if self.kind == "concat":
            return joined
        share = torch.sigmoid(joined)
        return share * foreground + (1 - share) * background

    def guide(self, appearance: Tensor) -> list[list[Tensor]]:
        """Return what appearance guidance (B, L, G) adds in each layer; once per image, for all classes."""
        return [layer.guide(appearance) for layer in self.layers]  # type: ignore[operator]

    def forward(self, x: Tensor, guided: Sequence[Sequence[Tensor]]) -> Tensor:
        """Map tokens (B, N, L, D) to (B, N, L, D)."""
        for layer, offsets in zip(self.layers, guided, strict=True):
            x = layer.run(x, offsets)  # type: ignore[operator]
        return x
