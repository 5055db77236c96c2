"""What fused attention keeps for the backward pass, on the meta device, where torch itself does not fuse it."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode


class FusedAttention(TorchFunctionMode):
    """Within it, attention has the shapes of a fused kernel and keeps what one keeps. For meta tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, key, value, mask = (*args, None)[:4]
        return _Fused.apply(query, key, value, kwargs.get("attn_mask", mask))


class _Fused(Function):
    """Keeps queries (.., L, E), keys, values, the mask, the result and one normaliser per query, and no (.., L, S)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        result = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, mask, result, query.new_empty(query.shape[:-1]))
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError("the backward pass is not counted")
