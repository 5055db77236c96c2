"""Where loops compiled by numba stand in for torch's operations."""

from __future__ import annotations

import torch
from torch import Tensor

from repro.layers.parallel import watched


def serves(x: Tensor) -> bool:
    """Tell whether compiled loops take tensors like ``x``: float32 on a CPU, no gradient recorded, nothing watching."""
    fits = x.device.type == "cpu" and x.dtype == torch.float32
    return fits and not torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu") and not watched()
