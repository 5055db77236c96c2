"""Process-wide settings that must stand before torch is imported, and workarounds that make imports work.

Call :func:`prepare` first in every entry point (command line, worker process, test session). It imports nothing heavy.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import sys
from pathlib import Path

from repro.mends import install


def prepare() -> None:
    """Set environment defaults that only work before torch starts its thread pool; a user's own values win."""
    # Spinning OpenMP threads make two threads several times slower than one on a shared two-core machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # albumentations-like version checks and TensorFlow chatter have no place in a log.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_memory()


def keep_memory() -> None:
    """Let glibc keep freed blocks instead of returning them to the system.

    With its defaults every forward pass pays for fresh pages, up to half of its time on a CPU. Does nothing elsewhere.
    """
    allocator_thresholds(1 << 30, (1 << 31) - 1)


def allocator_thresholds(mapped: int, trimmed: int) -> None:
    """Set from which size on glibc allocates a block by mmap, and how much free memory it keeps at the heap's end."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, mapped)
        libc.mallopt(_M_TRIM_THRESHOLD, trimmed)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def import_torchvision() -> None:
    """Import torchvision also beside a CPU-only torch, whose compiled operators the torchvision wheel cannot load.

    On such a machine ``import torchvision`` dies because ``torchvision::nms`` has no schema. The schemas (no kernels)
    are defined only when the compiled library really fails to load, so that GPU builds are left alone.
    """
    if "torchvision" in sys.modules:
        return
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        from repro.errors import ResourceError

        raise ResourceError("torchvision is not installed", mend=install())
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            _define_detection_schemas()
    import torchvision  # noqa: F401


def _define_detection_schemas() -> None:
    import torch

    global _schemas
    _schemas = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        _schemas.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_schemas = None
