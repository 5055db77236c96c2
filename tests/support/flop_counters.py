"""Two counters in circulation, corrected: what they say of the code that runs, to hold against our own count.

Both are wrong on a CPU as they come: PyTorch's fast path of attention has no counted operations, and its fused kernels
count nothing. Here the fast path is off and attention is counted as its two matrix products. One unit is a
multiply-add. fvcore also counts five operations an element of a norm and four of a bilinear resizing, torch neither.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def torch_multiply_adds(module: nn.Module, *inputs: Any) -> int:
    """Count by torch's FlopCounterMode, which counts two operations per multiply-add.

    ``module`` and its inputs should be on the meta device, where fused attention is taken apart into its products.
    """
    with _slow_attention(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def fvcore_multiply_adds(module: nn.Module, *inputs: Any) -> int:
    """Count by fvcore's FlopCountAnalysis, the counter of the papers, with a rule for fused attention.

    Inputs that are no tensors are passed on as they are. It traces the module, so that the meta device will not do, nor
    a module TorchScript has no words for; results nobody reads are not counted.
    """
    from fvcore.nn import FlopCountAnalysis

    tensors = tuple(x for x in inputs if isinstance(x, Tensor))
    with _slow_attention():
        analysis = FlopCountAnalysis(_WithTensorsOnly(module, inputs), tensors)
        analysis.set_op_handle("aten::scaled_dot_product_attention", _attention)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        return int(analysis.total())


class _WithTensorsOnly(nn.Module):
    """``module`` as a function of its tensors: what tracing needs."""

    def __init__(self, module: nn.Module, inputs: Sequence[Any]) -> None:
        super().__init__()
        self.module, self.inputs = module, inputs

    def forward(self, *tensors: Tensor) -> Any:
        given = iter(tensors)
        return self.module(*(next(given) if isinstance(x, Tensor) else x for x in self.inputs))


def _attention(inputs: Sequence[Any], _outputs: Sequence[Any]) -> int:
    """Count both products of attention of (.., L, E) over (.., S, E) and (.., S, V)."""
    query, key, value = (x.type().sizes() for x in inputs[:3])
    return math.prod(query[:-1]) * int(key[-2]) * int(query[-1] + value[-1])


@contextlib.contextmanager
def _slow_attention() -> Iterator[None]:
    """Run the block without the fast path of ``nn.MultiheadAttention`` and encoder layers, which no counter knows."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
