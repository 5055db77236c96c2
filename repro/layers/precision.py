"""Where autocast must not reach: losses, rankings."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch


def full_precision(device_type: str) -> AbstractContextManager[object]:
    """Switch off autocast on ``device_type``."""
    if not torch.amp.is_autocast_available(device_type):
        return contextlib.nullcontext()
    return torch.autocast(device_type, enabled=False)
