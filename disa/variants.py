"""Other ways to split the tokens (Table 3, II and III)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from repro.benchmarks.vocabulary import load_vocabulary, vocabulary_names

TAXONOMY_FIRST = "coco_stuff171"
"""The vocabulary that decides where vocabularies differ on a name (docs/taxonomy.md): the one that is trained on."""


class TokenSplit(nn.Module):
    """Row II: one soft map for all classes, as in PraNet-v2's dual-supervised reverse attention."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Linear(dim, 1)  # a 1x1 convolution over tokens

    def forward(self, mean: Tensor) -> Tensor:
        """Mean over classes (B, L, D) of the correlation -> share of foreground (B, L), in 0..1."""
        return torch.sigmoid(self.conv(mean)).squeeze(-1)


@cache
def known_kinds() -> Mapping[str, str]:
    """``thing`` or ``stuff`` of every class name and synonym, folded, of the package's vocabularies."""
    kinds: dict[str, str] = {}
    for vocabulary in sorted(vocabulary_names(), key=lambda name: (name != TAXONOMY_FIRST, name)):
        loaded = load_vocabulary(vocabulary)
        for name, kind in zip(loaded.names, loaded.kinds, strict=True):
            for synonym in name.split(", "):
                kinds.setdefault(_fold(synonym), kind)
    return kinds


def class_split(classes: Sequence[str], kinds: Mapping[str, str] | None = None) -> Tensor:
    """Row III: mask (N,), True where a class is a thing; a name of no known kind is one.

    ``kinds`` maps folded names to ``thing`` or ``stuff`` (default: :func:`known_kinds`).
    """
    kinds = known_kinds() if kinds is None else kinds
    return torch.tensor([kinds.get(_fold(name), "thing") == "thing" for name in classes], dtype=torch.bool)


def _fold(name: str) -> str:
    return name.strip().casefold()
