"""Other ways to split the tokens (Table 3, II and III) and the rows of Table 3 as options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from repro.benchmarks.vocabulary import load_vocabulary, vocabulary_names

_NO_HRM: Mapping[str, Any] = {"pixel": False, "category": False, "semantic": False}

TABLE_3: Mapping[str, Mapping[str, Any]] = {
    "I": {"split": "none"},
    "II": {"split": "token_level"},
    "III": {"split": "class_level"},
    "IV": _NO_HRM,
    "V": {**_NO_HRM, "pixel": True},
    "VI": {**_NO_HRM, "category": True},
    "VII": {"semantic": False},
    "VIII": {},
}
"""Options of each row of Table 3 over the defaults."""

TAXONOMY_FIRST = "coco_stuff171"
"""The vocabulary whose word counts where vocabularies differ on a name: the one that is trained on."""


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
    """``thing`` or ``stuff`` of every name (folded, each synonym) the vocabularies of the package give a kind."""
    kinds: dict[str, str] = {}
    for vocabulary in sorted(vocabulary_names(), key=lambda name: (name != TAXONOMY_FIRST, name)):
        loaded = load_vocabulary(vocabulary)
        for name, row in zip(loaded.names, loaded.rows, strict=True):
            for synonym in name.split(", ") if row.get("kind") else ():
                kinds.setdefault(_fold(synonym), row["kind"])
    return kinds


def class_split(classes: Sequence[str], kinds: Mapping[str, str] | None = None) -> Tensor:
    """Row III: mask (N,), True where a class is a thing; a name of no known kind is one.

    ``kinds`` maps folded names to ``thing`` or ``stuff`` (default: :func:`known_kinds`).
    """
    kinds = known_kinds() if kinds is None else kinds
    return torch.tensor([kinds.get(_fold(name), "thing") == "thing" for name in classes], dtype=torch.bool)


def _fold(name: str) -> str:
    return name.strip().casefold()
