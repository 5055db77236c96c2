"""Vector-Jacobian products in closed form, so that Eq. 2 needs no backward pass and no autograd graph.

Classes meet nothing but the image in the cross-attention layers, so that the gradient of a class's score by its own
attention map runs through its own token alone: a handful of products over (B, N, C), whatever the image encoder. Every
function takes the gradient by the output of a piece and returns that by its input.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repro.layers.tokens import Mlp


def gelu_vjp(grad: Tensor, x: Tensor) -> Tensor:
    """Compute the vector-Jacobian product of the exact GELU at ``x``: d/dx x Phi(x) = Phi(x) + x phi(x).

    In one pass, as autograd does it; spelled out it takes five times as long.
    """
    return torch.ops.aten.gelu_backward(grad, x)


def layer_norm_vjp(grad: Tensor, x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Compute the vector-Jacobian product of ``norm`` over the last axis at ``x`` (..., C)."""
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    scale = torch.rsqrt(variance + norm.eps)
    unit = (x - mean) * scale
    grad = grad * norm.weight
    along = (grad * unit).mean(dim=-1, keepdim=True)
    return scale * (grad - grad.mean(dim=-1, keepdim=True) - unit * along)


def mlp_vjp(grad: Tensor, hidden: Tensor, mlp: Mlp) -> Tensor:
    """Compute the vector-Jacobian product of a GELU ``mlp`` whose first linear map gave ``hidden`` (..., H)."""
    return gelu_vjp(grad @ mlp.fc2.weight, hidden) @ mlp.fc1.weight


def softmax_vjp(grad: Tensor, probabilities: Tensor) -> Tensor:
    """Compute the vector-Jacobian product of a softmax over the last axis that gave ``probabilities``."""
    return probabilities * (grad - (grad * probabilities).sum(dim=-1, keepdim=True))


def weighted_attention(grad: Tensor, attention: Tensor) -> Tensor:
    """Compute Eq. 2: max(0, gradient) times attention, both (B, heads, N, L), and the mean over heads: (B, N, L)."""
    return (grad.clamp(min=0) * attention).mean(dim=1)
