"""Where autocast must not reach: losses, rankings."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full_precision(device_type: str) -> AbstractContextManager[object]:
    """Switch off autocast on ``device_type``."""
    if not torch.amp.is_autocast_available(device_type):
        return contextlib.nullcontext()
    return torch.autocast(device_type, enabled=False)


def widened(values: Tensor) -> Tensor:
    """Return ``values`` in float32, or as they are where they are wider: half precision ends here, float64 does not."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
