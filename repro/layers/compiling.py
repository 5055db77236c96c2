"""Where loops compiled by numba stand in for torch's operations."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repro.layers.parallel import watched

LANES = 16
"""Loops over vectors take channels (of a head, a hidden layer, a stage) that are a multiple of this."""


def serves(x: Tensor, *, recorded: bool = False) -> bool:
    """Tell whether compiled loops take tensors like ``x``: float32 on a CPU, nothing watching.

    No gradient may be recorded, unless the loops have one (``recorded``).
    """
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and (recorded or not torch.is_grad_enabled())
    return fits and not torch.is_autocast_enabled("cpu") and not watched()


def affine(linear: nn.Linear) -> Tensor:
    """Return the matrix (inputs + 1, outputs) of a linear map, its bias as last row."""
    return torch.cat([linear.weight.t(), linear.bias.unsqueeze(0)])


def scales(norm: nn.LayerNorm | nn.GroupNorm) -> Tensor:
    """Return weight and bias of a norm (2, C)."""
    return torch.stack([norm.weight, norm.bias])


def array(matrix: Tensor) -> NDArray[np.float32]:
    """Return a parameter's numbers, rows one after another."""
    numbers: NDArray[np.float32] = matrix.detach().contiguous().numpy()
    return numbers
