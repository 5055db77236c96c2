"""Activation checkpointing: less memory for a second forward pass of each block, with the same gradients."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

_SMALLEST = 2  # members of a list of blocks; a list of one is not a stack


def checkpoint_activations(model: nn.Module) -> int:
    """Let every block of ``model`` forget its activations and compute them again in the backward pass.

    Blocks are the members of the outermost ``ModuleList`` or ``Sequential`` of at least two equal modules, which is
    how transformers, ConvNeXt stages and decoders stack them. Returns how many there are. Random numbers (dropout)
    are drawn again as before. Calling it twice changes nothing.
    """
    count = 0
    for child in model.children():
        if _is_stack(child):
            for block in child.children():
                _wrap(block)
                count += 1
        else:
            count += checkpoint_activations(child)
    return count


def _is_stack(module: nn.Module) -> bool:
    if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) < _SMALLEST:
        return False
    kinds = {type(child) for child in module}
    return len(kinds) == 1 and any(True for child in module for _ in child.children())


def _wrap(block: nn.Module) -> None:
    if hasattr(block, "_whole_forward"):
        return
    forward = block.forward

    @functools.wraps(forward)
    def again(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    block._whole_forward = forward  # type: ignore[assignment]
    block.forward = again
