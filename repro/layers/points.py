"""The decoder's last convolution where a gradient is recorded, by loops where they serve (docs/performance.md)."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from repro.layers.compiling import array, serves
from repro.layers.map_loops import fits


def to_points(x: Tensor, head: nn.Conv2d) -> Tensor:
    """Return one number a place (N, 1, H, W) of maps (N, D, H, W): 3x3 convolution ``head`` with a border of zeros.

    First derivatives only, where loops serve.
    """
    if head.bias is None or not _recorded(x):
        points: Tensor = head(x)
        return points
    result: Tensor = _Points.apply(x, head.weight, head.bias)
    return result


def _recorded(x: Tensor) -> bool:
    """Tell whether a gradient is recorded of maps that the loops take."""
    fitting = x.shape[2] == x.shape[3] and fits(x.shape[2], x.shape[1:2])
    return fitting and x.requires_grad and torch.is_grad_enabled() and serves(x, recorded=True)


class _Points(torch.autograd.Function):
    """The convolution with its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        from repro.layers.compiled_points import points

        out = x.new_empty(len(x), 1, *x.shape[2:])
        points(_rows(x), x.shape[2], _taps(weight), float(bias), out.flatten(1).numpy())
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        from repro.layers.compiled_points import points_back

        (x, weight), (grad,) = ctx.saved_tensors, grads
        result = torch.empty_like(x, memory_format=torch.channels_last)
        to_weight = weight.new_zeros(9, x.shape[1])
        moved = array(grad.flatten(1).unsqueeze(2))
        points_back(_rows(x), x.shape[2], _taps(weight), moved, _rows(result), to_weight.numpy())
        return result, to_weight.t().reshape(weight.shape), grad.sum().view(1)


def _rows(x: Tensor) -> NDArray[Any]:
    """Return maps (N, D, H, W) as rows of places (N, H W, D): a view of maps with their channels last."""
    return array(x.permute(0, 2, 3, 1).flatten(1, 2))


def _taps(weight: Tensor) -> NDArray[Any]:
    """Return a kernel (1, D, 3, 3) as (9, D)."""
    return array(weight[0].flatten(1).t())
