"""The selective scan of state-space models (Gu and Dao, Mamba, arXiv:2312.00752), in parallel form.

A recurrence over L places is cut into about sqrt(L) chunks. All chunks advance together from a zero state, then the
state is carried from chunk to chunk, then what was carried is added: 2 sqrt(L) steps instead of L, without a division
and so without the overflow that cumulative products in the denominator bring.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def linear_recurrence(a: Tensor, b: Tensor) -> Tensor:
    """h (R, L, S) with h_t = a_t h_{t-1} + b_t along L and h_{-1} = 0, for ``a`` and ``b`` (R, L, S).

    First derivatives only.
    """
    h: Tensor = _LinearRecurrence.apply(a, b)
    return h


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """y (B, K, L, D) of h_t = exp(delta_t a) h_{t-1} + delta_t b_t u_t, y_t = c_t h_t + d u_t (Mamba, eq. 2 and 4).

    ``u`` and the positive step sizes ``delta`` are (B, K, L, D): K independent scans (directions) of D channels over
    L places. ``a`` (K, D, S) is negative, S the size of a channel's state; ``b`` and ``c`` (B, K, L, S) are shared by
    the channels, ``d`` is (K, D). As in the released code, b is discretised by Euler's rule, a exactly.

    Computed in float32 where the input is narrower, returned in the type of ``u``. On a GPU the kernel of mamba_ssm
    does the same where that package is installed.
    """
    narrow = torch.finfo(u.dtype).bits < 32
    args = [t.float() for t in (u, delta, a, b, c, d)] if narrow else [u, delta, a, b, c, d]
    kernel = cuda_kernel() if u.is_cuda and args[0].dtype == torch.float32 else None
    y = parallel_scan(*args) if kernel is None else _kernel_scan(kernel, *args)
    return y.to(u.dtype)


def parallel_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """``selective_scan`` in plain torch operations, on any device."""
    decay = (delta.unsqueeze(-1) * a.unsqueeze(1)).exp()
    drive = (delta * u).unsqueeze(-1) * b.unsqueeze(-2)
    # (B, K, L, D, S) -> (B K, L, D S)
    h = linear_recurrence(decay.flatten(3).flatten(0, 1), drive.flatten(3).flatten(0, 1)).view(drive.shape)
    return torch.addcmul((h * c.unsqueeze(-2)).sum(-1), u, d.unsqueeze(1))


@cache
def cuda_kernel() -> Callable[..., Tensor] | None:
    """``selective_scan_fn`` of mamba_ssm, or None where the package is not installed."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    kernel: Callable[..., Tensor] = selective_scan_fn
    return kernel


def _kernel_scan(
    kernel: Callable[..., Tensor], u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> Tensor:
    """The kernel wants channels before places, with the scans as groups of channels: (B, K D, L), (B, K, S, L)."""

    def channels_first(x: Tensor) -> Tensor:
        return x.transpose(2, 3).flatten(1, 2).contiguous()

    groups = [x.transpose(2, 3).contiguous() for x in (b, c)]
    y = kernel(channels_first(u), channels_first(delta), a.flatten(0, 1), *groups, d.flatten())
    return y.unflatten(1, (u.shape[1], u.shape[3])).transpose(2, 3)


class _LinearRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        h = _run(a, b, reverse=False)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        a, h = ctx.saved_tensors
        # dL/dh_t = grad_t + a_{t+1} dL/dh_{t+1}: the same recurrence from the other end.
        grad_b = _run(F.pad(a[:, 1:], (0, 0, 0, 1)), grads[0], reverse=True)
        return grad_b * F.pad(h[:, :-1], (0, 0, 1, 0)), grad_b


def _run(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    """The recurrence without a graph; ``reverse`` runs it from the last place to the first."""
    length = b.shape[1]
    steps = max(1, math.isqrt(length))
    missing = -length % steps
    if missing:  # zeros behind the end: they are dropped, and in reverse they leave the state at zero
        a, b = F.pad(a, (0, 0, 0, missing)), F.pad(b, (0, 0, 0, missing))
    shape = (b.shape[0], -1, steps, b.shape[2])
    a, b = a.reshape(shape), b.reshape(shape)
    h, product = torch.empty_like(b), torch.empty_like(a)
    # Place by place in all chunks at once: the state from zero, and the product of the factors up to here.
    each = list(zip(a.unbind(2), b.unbind(2), h.unbind(2), product.unbind(2), strict=True))
    if reverse:
        each.reverse()
    each[0][2].copy_(each[0][1])
    each[0][3].copy_(each[0][0])
    for (_, _, h_before, p_before), (a_t, b_t, h_t, p_t) in pairwise(each):
        torch.addcmul(b_t, a_t, h_before, out=h_t)
        torch.mul(a_t, p_before, out=p_t)
    # Chunk by chunk: the state each one begins with.
    carried = torch.zeros_like(each[-1][2])
    ends = list(zip(carried.unbind(1), each[-1][2].unbind(1), each[-1][3].unbind(1), strict=True))
    if reverse:
        ends.reverse()
    for (begin, h_end, p_end), (following, _, _) in pairwise(ends):
        torch.addcmul(h_end, p_end, begin, out=following)
    return h.addcmul_(product, carried.unsqueeze(2)).flatten(1, 2)[:, :length]
