"""Small pieces that the cost aggregation layers share.

A cost volume is carried as tokens (B, T, L, C): B images, T classes, L places of the map in some order, C channels.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.layers.parallel import each, even_step, threads

CHUNK_ELEMENTS = 1 << 20
"""Elements of a chunk when no gradient is recorded: 4 MiB in float32, so that a chunk's buffers stay in cache."""
NARROW = 64
"""Channels a token counts for at least: products of many narrow ones leave the cache first."""
GPU_CHUNKS = 32
"""A GPU takes so many times more: 128 MiB, enough to occupy it, little beside its memory."""


def chunk_elements(device: torch.device) -> int:
    """Return the number of elements of a chunk on ``device``; its widest buffer (an MLP's) has four times as many."""
    return CHUNK_ELEMENTS * (GPU_CHUNKS if device.type == "cuda" else 1)


def chunk_tokens(channels: int, device: torch.device) -> int:
    """Return the number of tokens of ``channels`` each that make a chunk on ``device``."""
    return chunk_elements(device) // max(NARROW, channels)


def chunk_step(total: int, tokens: int, channels: int, device: torch.device) -> int:
    """Return how many of ``total`` classes or places with ``tokens`` of ``channels`` each make a chunk, 1 or more.

    Chunks that run side by side share the tokens of one, so that memory does not grow with the number of cores.
    """
    budget = chunk_tokens(channels, device) // threads(device)
    return even_step(total, max(1, budget // max(1, tokens)), device)


class Mlp(nn.Module):
    """Linear, activation, linear; the hidden width is ``ratio`` times ``dim``."""

    def __init__(self, dim: int, ratio: float, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., C)."""
        return self.fc2(self.activation(self.fc1(x)))


class GuidedProjection(nn.Module):
    """Queries, keys and values of tokens; guidance takes part in queries and keys only.

    ``q`` and ``k`` are linear maps of [token || guidance] as in the official checkpoints. Since
    W [x || g] + b = W_x x + (W_g g + b), the guidance half is computed once for all tokens that share it.
    """

    def __init__(self, dim: int, guidance_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.q = nn.Linear(dim + guidance_dim, dim)
        self.k = nn.Linear(dim + guidance_dim, dim)
        self.v = nn.Linear(dim, dim)

    def token_weight(self) -> Tensor:
        """Return the weight (3 C, C) from tokens to q, k, v."""
        return torch.cat([self.q.weight[:, : self.dim], self.k.weight[:, : self.dim], self.v.weight])

    def offset(self, guidance: Tensor) -> Tensor:
        """Return what ``guidance`` (..., G) and the biases add to q, k, v: (..., 3 C)."""
        weight = torch.cat([self.q.weight[:, self.dim :], self.k.weight[:, self.dim :]])
        q_k = F.linear(guidance, weight, torch.cat([self.q.bias, self.k.bias]))
        return torch.cat([q_k, self.v.bias.to(q_k.dtype).expand(*q_k.shape[:-1], -1)], dim=-1)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Return q, k, v (..., 3 C) of tokens (..., C), with ``offset`` broadcast over those that share it."""
        return add_(F.linear(x, self.token_weight()), offset)


def add_(fresh: Tensor, other: Tensor) -> Tensor:
    """Return ``fresh + other``, into ``fresh`` where the type allows it.

    ``fresh`` must come straight from an operation that does not keep its result for the backward pass (a linear map, a
    convolution), and be wider or as wide as ``other``. A view is not written to where a gradient is recorded: its
    backward pass would fill, copy and copy back the whole of what it is a view of.
    """
    recorded_view = fresh.requires_grad and fresh._is_view()
    if torch.result_type(fresh, other) == fresh.dtype and not recorded_view:
        return fresh.add_(other)
    return fresh + other


class _Permute(torch.autograd.Function):
    """``x.index_select(-2, order)`` whose backward is an index_select too (index_add is many times slower)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return x.index_select(-2, order)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Permute.apply(grads[0], inverse, order), None, None


def permute_tokens(x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """Return tokens (..., L, C) in another order: place i of the result is place ``order[i]`` of ``x``."""
    result: Tensor = _Permute.apply(x, order, inverse)
    return result


def class_chunks(x: Tensor) -> Iterator[tuple[int, slice]]:
    """Yield parts (image, classes) of a cost volume (B, T, L, C), each of one image and at most a chunk's elements."""
    step = chunk_step(x.shape[1], x.shape[2], x.shape[3], x.device)
    for image in range(x.shape[0]):
        for start in range(0, x.shape[1], step):
            yield image, slice(start, start + step)


def per_class(function: Callable[..., Tensor], x: Tensor, shared: Callable[[int | None], Any], *more: Tensor) -> Tensor:
    """Return ``function(x, shared(None), *more)``, or the same in chunks of classes where no gradient is recorded.

    ``function`` must treat classes independently; ``shared(i)`` returns what it needs of image i alone (with a batch
    axis of one), ``shared(None)`` of all images. ``more`` (B, T, ..) are cut as ``x`` is, which decides the chunks.
    Memory is bounded and stays in cache. On a CPU with several threads chunks run side by side.
    """
    if torch.is_grad_enabled() or x.shape[:3].numel() <= chunk_tokens(x.shape[3], x.device):
        return function(x, shared(None), *more)
    chunks = list(class_chunks(x))
    if not chunks:  # no images
        return function(x, shared(None), *more)
    made: list[Tensor] = []
    allocate = threading.Lock() if threads(x.device) > 1 else contextlib.nullcontext()

    def fill(i: int) -> None:
        image, classes = chunks[i]
        cut = (t[image : image + 1, classes] for t in (x, *more))
        part = function(next(cut), shared(image), *cut)
        with allocate:
            if not made:
                made.append(part.new_empty((*x.shape[:2], *part.shape[2:])))
        made[0][image : image + 1, classes] = part

    each(fill, len(chunks), x.device)
    return made[0]
