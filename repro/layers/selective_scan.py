"""The selective scan of state-space models (Gu and Dao, Mamba, arXiv:2312.00752), in parallel form.

A recurrence over L places is cut into chunks. All chunks advance together from a state of zero; the states at their
ends obey a shorter recurrence of the same kind, solved in the same way; what each chunk begins with is then added. The
number of steps grows with log L; without a division nothing overflows, as cumulative products would. On a CPU a
compiled loop goes from place to place instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from repro.layers.compiling import array, serves

CHUNK = 8
"""Places of a chunk: the recurrence over the ends of the chunks is cut again, so that 576 places take 3 x 8 steps."""


def linear_recurrence(a: Tensor, b: Tensor, reverse: bool = False) -> Tensor:
    """Return h_t = a_t h_{t-1} + b_t along the third axis, zero before it, for ``a`` and ``b`` (B, K, L, S, D).

    ``reverse`` runs from the last place to the first, whose factor is then unused. Records no gradient.
    """
    shape = b.shape
    a, b = (t.reshape(-1, shape[2], shape[3] * shape[4]) for t in (a, b))
    return (_by_places if serves(b) and b.numel() else _recur)(a, b, reverse).view(shape)


def _by_places(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    """Compute ``linear_recurrence`` of (R, L, F) by a compiled loop."""
    from repro.layers.compiled_scan import recur

    h = torch.empty_like(b, memory_format=torch.contiguous_format)
    recur(array(a), array(b), reverse, h.numpy())
    return h


def _recur(a: Tensor, b: Tensor, reverse: bool) -> Tensor:
    """Compute ``linear_recurrence`` of (R, L, F)."""
    length = b.shape[1]
    steps = min(CHUNK, length)
    missing = -length % steps
    if missing:  # zeros behind the end: they are dropped, and in reverse they leave the state at zero
        a, b = F.pad(a, (0, 0, 0, missing)), F.pad(b, (0, 0, 0, missing))
    a, b = a.unflatten(1, (-1, steps)), b.unflatten(1, (-1, steps))
    h = torch.empty_like(b)
    order = range(steps - 1, -1, -1) if reverse else range(steps)
    a_t, b_t, h_t = a.unbind(2), b.unbind(2), h.unbind(2)
    # Place by place in all chunks at once, from a state of zero.
    h_t[order[0]].copy_(b_t[order[0]])
    for before, now in pairwise(order):
        torch.addcmul(b_t[now], a_t[now], h_t[before], out=h_t[now])
    if b.shape[1] > 1:
        # Chunk by chunk: the state each one begins with is where the one before it ends.
        product = torch.empty_like(a)
        p_t = product.unbind(2)
        p_t[order[0]].copy_(a_t[order[0]])
        for before, now in pairwise(order):
            torch.mul(a_t[now], p_t[before], out=p_t[now])
        ends = _recur(p_t[order[-1]], h_t[order[-1]], reverse)
        into, out_of = (slice(None, -1), slice(1, None)) if reverse else (slice(1, None), slice(None, -1))
        h[:, into].addcmul_(product[:, into], ends[:, out_of].unsqueeze(2))
    return h.flatten(1, 2)[:, :length]


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Compute y (B, K, L, D) (Mamba, eq. 2, 4): h_t = exp(delta_t a) h_{t-1} + delta_t b_t u_t, y_t = c_t h_t + d u_t.

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
    """Run ``selective_scan`` in plain torch operations, on any device; first derivatives only."""
    y: Tensor = _SelectiveScan.apply(u, delta, a, b, c, d)
    return y


@cache
def cuda_kernel() -> Callable[..., Tensor] | None:
    """Return ``selective_scan_fn`` of mamba_ssm, or None where the package is not installed."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    kernel: Callable[..., Tensor] = selective_scan_fn
    return kernel


def _kernel_scan(
    kernel: Callable[..., Tensor], u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> Tensor:
    """Run the kernel, channels before places and scans as groups of channels: (B, K D, L), (B, K, S, L)."""

    def channels_first(x: Tensor) -> Tensor:
        return x.transpose(2, 3).flatten(1, 2).contiguous()

    groups = [x.transpose(2, 3).contiguous() for x in (b, c)]
    y = kernel(channels_first(u), channels_first(delta), a.flatten(0, 1), *groups, d.flatten())
    return y.unflatten(1, (u.shape[1], u.shape[3])).transpose(2, 3)


class _SelectiveScan(torch.autograd.Function):
    """States are held as (B, K, L, S, D), so that sums over states and over channels are both vectorised.

    The backward pass is written out: what autograd would record of the same operations takes twice the time.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        decay = (delta.unsqueeze(3) * a.transpose(1, 2).unsqueeze(1)).exp_()
        h = linear_recurrence(decay, (delta * u).unsqueeze(3) * b.unsqueeze(4))
        ctx.save_for_backward(u, delta, a, b, c, d, decay, h)
        return (h * c.unsqueeze(4)).sum(3).addcmul_(u, d.unsqueeze(1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        u, delta, a, b, c, d, decay, h = ctx.saved_tensors
        grad_y = grads[0].unsqueeze(3)
        # dL/dh_t = c_t dL/dy_t + decay_{t+1} dL/dh_{t+1}: the same recurrence from the other end.
        grad_h = linear_recurrence(decay.roll(-1, 2), grad_y * c.unsqueeze(4), reverse=True)
        grad_c = (grad_y * h).sum(4)
        grad_b = (grad_h * (delta * u).unsqueeze(3)).sum(4)
        grad_drive = (grad_h * b.unsqueeze(4)).sum(3)  # of delta u
        # of delta a: decay_t h_{t-1} dL/dh_t
        grad_exponent = grad_h
        grad_exponent[:, :, 0] = 0
        grad_exponent[:, :, 1:] *= h[:, :, :-1]
        grad_exponent *= decay
        grad_a = (grad_exponent * delta.unsqueeze(3)).sum((0, 2)).transpose(1, 2)
        grad_delta = (grad_exponent * a.transpose(1, 2).unsqueeze(1)).sum(3).addcmul_(grad_drive, u)
        grad_u = (grad_drive * delta).addcmul_(grads[0], d.unsqueeze(1))
        return grad_u, grad_delta, grad_a, grad_b, grad_c, (grads[0] * u).sum((0, 2))
