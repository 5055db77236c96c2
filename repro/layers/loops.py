"""How loops over float32 numbers are compiled by numba: when first used, and kept beside their files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_KEPT = os.access(Path(__file__).parent, os.W_OK)
compiled = njit(nogil=True, cache=_KEPT, error_model="numpy")
"""Sums in their order."""
fast = njit(nogil=True, cache=_KEPT, error_model="numpy", fastmath={"nsz", "contract", "reassoc"})
"""Sums in any order."""
