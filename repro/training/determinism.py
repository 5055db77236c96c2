"""The same bits from the same seed on a GPU too, for what that costs (docs/scaling-out.md lists what is affected)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from repro.errors import UsageError

WORKSPACE, WORKSPACE_VALUE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


@contextlib.contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Have torch choose deterministic kernels inside the block, and none that depends on which is fastest today.

    Must be entered before the first product on a GPU (cuBLAS reads its environment once). Raises UsageError where a
    kernel has no deterministic form, naming it. Without ``wanted`` nothing happens.
    """
    if not wanted:
        yield
        return
    import torch

    os.environ.setdefault(WORKSPACE, WORKSPACE_VALUE)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise UsageError(
            "a kernel this method needs has no deterministic form on this device",
            expected="deterministic kernels only, as --deterministic asks",
            found=str(error).splitlines()[0],
            mend="leave out --deterministic, or use --device cpu, where every kernel is",
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
