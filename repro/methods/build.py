"""A method with its first weights, which follow from the seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from repro.clip.tower import ClipTower
    from repro.methods import MethodEntry
    from repro.methods.interface import Method


def new_method(entry: MethodEntry, tower: ClipTower | None, options: Any, seed: int) -> Method:
    """Build ``entry`` on ``tower``, its new parameters drawn from ``seed``."""
    torch.manual_seed(seed)
    return entry.create(tower, options)
