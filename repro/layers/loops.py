"""How loops over float32 numbers are compiled by numba: when first used, and kept beside their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

_FOLDER = Path(__file__).parent
_KEPT = os.access(_FOLDER, os.W_OK)


def sources(folder: Path) -> str:
    """Return a digest of the files of loops in ``folder``."""
    files = sorted([*folder.glob("compiled_*.py"), folder / "vectors.py", folder / "loops.py"])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _kept(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator. Numba compiles a function anew when its own file changed, here also when another did."""
    digest = sources(_FOLDER)

    def decorate(function: Callable[..., Any]) -> Any:
        kernel = njit(nogil=True, cache=_KEPT, error_model="numpy", **options)(function)
        if _KEPT:
            file = kernel._cache._cache_file
            file._source_stamp = (file._source_stamp, digest)
        return kernel

    return decorate


compiled = _kept()
"""Sums in their order."""
fast = _kept(fastmath={"nsz", "contract", "reassoc"}, forceinline=True)
"""Sums in any order, the same one in every process, as it becomes part of what calls it. Otherwise the process that
compiles would call the function's own copy, those that read what was kept the caller's, which may sum differently."""
