"""Attention of few tokens in a training step on a CPU.

Torch's fused kernel goes through one window after another and computes the weights again backwards, which pays where
they are too many to keep. Here they are few: they are kept, and all windows are one batch of products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

FEW = 36
"""Tokens of a window up to which this is faster."""


def small_attention(qkv: Tensor, bias: Tensor | None, heads: int) -> Tensor:
    """Return softmax(q k^T / sqrt(C / heads) + bias) v, (N, windows, S, C), of q, k, v (N, windows, S, 3 C).

    ``bias`` is (N or 1, windows, heads or 1, S or 1, S), without a gradient, or (windows, heads or 1, S or 1, S).
    First derivatives only.
    """
    mixed: Tensor = _SmallAttention.apply(qkv, bias, heads)
    return mixed


class _SmallAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor | None, heads: int) -> Tensor:
        q, k, v = _cut(qkv, heads)
        weights = (q @ k.transpose(1, 2)).mul_(q.shape[-1] ** -0.5)
        if bias is not None:
            by_window = weights.view(*qkv.shape[:2], heads, *weights.shape[1:])
            by_window += bias
        # Of what a mask adds -100 to, weights are no normal float32: products with them are many times slower.
        weights = torch.threshold_(weights.softmax(dim=-1), torch.finfo(weights.dtype).tiny, 0)
        ctx.save_for_backward(qkv, weights)
        ctx.heads = heads
        return _joined(weights @ v, qkv.shape, heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        qkv, weights = ctx.saved_tensors
        q, k, v = _cut(qkv, ctx.heads)
        (grad,) = _cut(grads[0], ctx.heads, parts=1)
        by_value = weights.transpose(1, 2) @ grad
        by_score = torch._softmax_backward_data(grad @ v.transpose(1, 2), weights, -1, weights.dtype)
        by_score *= q.shape[-1] ** -0.5
        parts = by_score @ k, by_score.transpose(1, 2) @ q, by_value
        return torch.cat([_joined(part, qkv.shape, ctx.heads) for part in parts], dim=-1), None, None


def _cut(x: Tensor, heads: int, parts: int = 3) -> tuple[Tensor, ...]:
    """Return ``parts`` tensors (N windows heads, S, d) of (N, windows, S, parts heads d); views for a single head."""
    split = x.flatten(0, 1).unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4)
    return tuple(part.flatten(0, 1) for part in split.unbind())


def _joined(x: Tensor, shape: torch.Size, heads: int) -> Tensor:
    """Return (N, windows, S, C) of (N windows heads, S, d); ``shape`` begins with N, windows, S."""
    return x.unflatten(0, (-1, heads)).transpose(1, 2).reshape(*shape[:3], -1)
