"""Training on a part of the vocabulary per step: all classes of the crops and a random sample of the others."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from repro.training.pipeline import IGNORED


def sample_classes(labels: Tensor, num_classes: int, limit: int, seed: tuple[int, ...]) -> tuple[list[int], Tensor]:
    """Return indices of at most ``limit`` classes, ascending, and ``labels`` (B, H, W) in terms of them (255 stays).

    Every class that labels a pixel is among them, even where these alone are more than ``limit``; the others are drawn
    uniformly without replacement by a generator seeded with ``seed``, so that a resumed training draws the same.
    """
    counts = torch.bincount(labels.flatten(), minlength=IGNORED + 1)  # many times faster than sorting for unique ones
    present = [c for c in counts.nonzero().flatten().tolist() if c != IGNORED]
    others = np.setdiff1d(np.arange(num_classes), present)
    wanted = min(max(0, limit - len(present)), len(others))
    drawn = np.random.default_rng(seed).choice(others, wanted, replace=False)
    chosen = sorted([*present, *drawn.tolist()])
    table = torch.full((IGNORED + 1,), IGNORED, dtype=labels.dtype, device=labels.device)
    table[torch.tensor(chosen, dtype=torch.long, device=labels.device)] = torch.arange(
        len(chosen), dtype=labels.dtype, device=labels.device
    )
    return chosen, table[labels.long()]
