"""Other ways to split the tokens (Table 3, II and III)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from disa.kinds import known_kinds, things

__all__ = ["TokenSplit", "class_split", "known_kinds"]


class TokenSplit(nn.Module):
    """Row II: one soft map for all classes, as in PraNet-v2's dual-supervised reverse attention."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Linear(dim, 1)  # a 1x1 convolution over tokens

    def forward(self, mean: Tensor) -> Tensor:
        """Map mean over classes (B, L, D) of the correlation to share of foreground (B, L), in 0..1."""
        return torch.sigmoid(self.conv(mean)).squeeze(-1)


def class_split(classes: Sequence[str], kinds: Mapping[str, str] | None = None) -> Tensor:
    """Return, for row III, the mask (N,), True where a class is a thing; a name of no known kind is one.

    ``kinds`` maps folded names to ``thing`` or ``stuff`` (default: :func:`known_kinds`).
    """
    return torch.tensor(things(classes, kinds), dtype=torch.bool)
