"""Pixel-wise refinement of both branches at the price of one (Sec. 3.4).

Each token belongs to one branch. What acts on single tokens (norms, projections, MLP) runs on each branch's tokens with
its own weights; between, one attention in which tokens see those of their own branch alone. The result is that of two
pairs of Swin blocks with the other branch masked out of each, of which half the tokens would be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.tokens import permute_tokens
from repro.layers.window_attention import GuidedSwinPair, GuidedWindowBlock


def refine_branches(
    front: GuidedSwinPair,
    back: GuidedSwinPair,
    x: Tensor,
    mask: Tensor,
    k: int,
    front_guided: Sequence[Tensor],
    back_guided: Sequence[Tensor],
) -> Tensor:
    """Return M C'_f + (1 - M) C'_b of tokens (B, N, L, D); ``mask`` (B, N, L) has ``k`` foreground tokens per class.

    The guidance is that of :meth:`GuidedSwinPair.guide` for each branch.
    """
    batch, classes, places, dim = x.shape
    order = branch_order(mask, k)
    place = inverse(order)
    sizes = [batch * classes * k, batch * classes * (places - k)]
    # First row of the guidance of each token's branch among those of all images, foreground before background.
    row = places * (2 * torch.arange(batch, device=x.device).view(-1, 1, 1) + (~mask).long())
    tokens = permute_tokens(x.reshape(-1, dim), order, place)
    pairs = zip(_blocks(front), _blocks(back), front_guided, back_guided, strict=True)
    for first, second, first_guided, second_guided in pairs:
        both = (first, second)
        into = place.view(-1, places)[:, first.order].flatten()  # row of the branches' order at each place of a window
        out = inverse(into)
        # Whole rows of a table: many times faster than choosing element by element, and so is the gradient.
        rows = (row[:, :, first.order] + torch.arange(places, device=x.device)).flatten()[out]
        offset = F.embedding(rows, torch.cat([first_guided, second_guided], dim=1).flatten(0, 2))
        qkv = _each(_project, both, tokens.split(sizes), offset.split(sizes))
        qkv = permute_tokens(qkv, into, out).view(batch, classes, places, -1)
        mixed = permute_tokens(first.attend(qkv, first.apart(mask)).reshape(-1, dim), out, into)
        tokens = _each(GuidedWindowBlock.finish, both, tokens.split(sizes), mixed.split(sizes))
    return permute_tokens(tokens, place, order).view(batch, classes, places, dim)


def branch_order(mask: Tensor, k: int) -> Tensor:
    """Return flat indices (B N L) into ``mask`` (B, N, L): the ``k`` True of every class, then all the others."""
    rows = mask.flatten(0, 1)
    rank = (~rows).to(torch.uint8).argsort(dim=1, stable=True)
    rank = rank + rows.shape[1] * torch.arange(len(rows), device=mask.device).unsqueeze(1)
    return torch.cat([rank[:, :k].flatten(), rank[:, k:].flatten()])


def inverse(order: Tensor) -> Tensor:
    """Return the permutation that undoes ``order``."""
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


def _project(block: GuidedWindowBlock, tokens: Tensor, offset: Tensor) -> Tensor:
    """Return q, k, v (T, 3 C) of ``tokens`` (T, C) with ``offset`` (T, 3 C), which the product begins from."""
    return torch.addmm(offset, block.norm1(tokens), block.attn.token_weight().t())


def _blocks(pair: GuidedSwinPair) -> tuple[GuidedWindowBlock, GuidedWindowBlock]:
    return pair.block_1, pair.block_2


def _each(function: Callable[..., Tensor], blocks: Sequence[GuidedWindowBlock], *parts: Sequence[Tensor]) -> Tensor:
    """Return ``function(block, own part of each)`` of both branches, one after the other."""
    return torch.cat([function(block, *own) for block, *own in zip(blocks, *parts, strict=True)])
