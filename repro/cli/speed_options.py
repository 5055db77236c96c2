"""Options for faster passes that several commands share; all are off by default."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from repro.methods.speedups import Speedups


def add(parser: argparse.ArgumentParser, *, shared: bool = False) -> None:
    """``--amp``, ``--cuda-graphs``, ``--tf32`` and, where they are not ``shared`` with the options of a training,
    ``--compile`` and ``--channels-last``."""
    group = parser.add_argument_group("faster inference, with different rounding (docs/performance.md)")
    group.add_argument("--amp", choices=("off", "bf16", "fp16"), help="mixed precision (default: off)")
    group.add_argument("--cuda-graphs", action="store_true", help="capture the forward pass as a CUDA graph (GPU)")
    group.add_argument("--tf32", action="store_true", help="compute float32 matrix products in TF32 (GPU)")
    if not shared:
        group.add_argument("--compile", action="store_true", help="use torch.compile; the first pass takes minutes")
        group.add_argument(
            "--channels-last", action="store_true", help="store weights and images in channels-last layout"
        )


def chosen(options: argparse.Namespace) -> Speedups:
    """What the options of :func:`add` say."""
    from repro.methods.speedups import Speedups

    return Speedups(options.amp or "off", options.compile, options.channels_last, options.cuda_graphs, options.tf32)
