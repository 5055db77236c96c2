"""Pixel-wise refinement of both branches at the price of one (Sec. 3.4).

Each token belongs to one branch. What acts on single tokens (norms, projections, MLP) runs on each branch's tokens with
its own weights; between, one attention in which tokens see those of their own branch alone. The result is that of two
pairs of Swin blocks with the other branch masked out of each, of which half the tokens would be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.parallel import watched
from repro.layers.token_lists import lists_of, run_lists
from repro.layers.tokens import permute_tokens
from repro.layers.window_attention import GuidedSwinPair, GuidedWindowBlock

Blocks = tuple[GuidedWindowBlock, GuidedWindowBlock]
"""The foreground's and the background's."""


class Divided(NamedTuple):
    """Tokens by branch: the foreground's of every class, then the background's of every class."""

    tokens: Tensor
    """(B N L, D)."""
    order: Tensor
    """Where each of them is in (B, N, L), and at each place of (B, N, L) which of them it holds: ``place``."""
    place: Tensor
    shape: tuple[int, int, int]
    """B, N, L."""
    k: int
    """Foreground tokens of a class."""

    @classmethod
    def of(cls, x: Tensor, mask: Tensor, k: int) -> Divided:
        """Divide tokens (B, N, L, D) by ``mask`` (B, N, L) with ``k`` foreground tokens per class."""
        order, place = sort_branches(mask, k)
        tokens = permute_tokens(x.reshape(-1, x.shape[3]), order, place)
        return cls(tokens, order, place, (x.shape[0], x.shape[1], x.shape[2]), k)

    @property
    def sizes(self) -> list[int]:
        """Return how many tokens are foreground and how many background."""
        batch, classes, places = self.shape
        return [batch * classes * self.k, batch * classes * (places - self.k)]

    def branches(self) -> tuple[Tensor, Tensor]:
        """Return views of the foreground (B, N, k, D) and of the background (B, N, L - k, D)."""
        batch, classes, places = self.shape
        front, back = self.tokens.split(self.sizes)
        counts = self.k, places - self.k
        return tuple(t.view(batch, classes, n, t.shape[1]) for t, n in zip((front, back), counts, strict=True))

    def times(self, front: Tensor, back: Tensor) -> Divided:
        """Multiply the tokens of each branch by its gate (B, N, D), in place where no gradient is recorded."""
        pairs = zip(self.branches(), (front, back), strict=True)
        if not torch.is_grad_enabled():
            for branch, gate in pairs:
                branch.mul_(gate.unsqueeze(2))
            return self
        gated = torch.cat([(branch * gate.unsqueeze(2)).flatten(0, 2) for branch, gate in pairs])
        return self._replace(tokens=gated)

    def joined(self) -> Tensor:
        """Return the tokens (B, N, L, D) at their places."""
        return permute_tokens(self.tokens, self.place, self.order).view(*self.shape, -1)


def refine_branches(
    front: GuidedSwinPair,
    back: GuidedSwinPair,
    x: Tensor,
    mask: Tensor,
    k: int,
    front_guided: Sequence[Tensor],
    back_guided: Sequence[Tensor],
) -> Divided:
    """Return M C'_f + (1 - M) C'_b of tokens (B, N, L, D); ``mask`` (B, N, L) has ``k`` foreground tokens per class.

    The guidance is that of :meth:`GuidedSwinPair.guide` for each branch.
    """
    divided = Divided.of(x, mask, k)
    pairs = zip(_blocks(front), _blocks(back), front_guided, back_guided, strict=True)
    for first, second, first_guided, second_guided in pairs:
        both = (first, second)
        table = torch.cat([first_guided, second_guided], dim=1).flatten(0, 2)
        tokens = _by_lists(both, divided, mask, table) if first.compiled(x) else None
        if tokens is None:
            mixed = _mix_windows(both, divided, mask, table)
            tokens = _each(
                GuidedWindowBlock.finish, both, divided.tokens.split(divided.sizes), mixed.split(divided.sizes)
            )
        divided = divided._replace(tokens=tokens)
    return divided


def _mix_windows(blocks: Blocks, divided: Divided, mask: Tensor, table: Tensor) -> Tensor:
    """Return attention (R, D) of the tokens in windows, where a mask keeps the branches apart.

    ``table`` (B 2 L, 3 D) is the guidance of all images, the foreground's before the background's, in windows' order.
    """
    batch, _, places = divided.shape
    order = blocks[0].order
    into, out = _windows(blocks[0], divided)
    # Row of the guidance of each token's branch. Whole rows of a table: many times faster than choosing element by
    # element, and so is the gradient.
    row = places * (2 * torch.arange(batch, device=mask.device).view(-1, 1, 1) + (~mask).long())
    rows = (row[:, :, order] + torch.arange(places, device=mask.device)).flatten()[out]
    qkv = _each(_project, blocks, divided.tokens.split(divided.sizes), F.embedding(rows, table).split(divided.sizes))
    qkv = permute_tokens(qkv, into, out).view(*divided.shape, -1)
    mixed = blocks[0].attend(qkv, blocks[0].apart(mask)).flatten(0, 2)
    return permute_tokens(mixed, out, into)


def _windows(block: GuidedWindowBlock, divided: Divided) -> tuple[Tensor, Tensor]:
    """Return the row among the divided tokens of each place of a window, and the inverse."""
    into = divided.place.view(-1, divided.shape[2])[:, block.order].flatten()
    return into, inverse(into)


def _by_lists(blocks: Blocks, divided: Divided, mask: Tensor, table: Tensor) -> Tensor | None:
    """Return the tokens (R, D) after the block without moving one: a branch's tokens in a window are a list.

    None where the attention between windows' regions is not negligible.
    """
    from repro.layers.compiled_lists import number_branches

    block, place = blocks[0], divided.place
    number, row = torch.empty_like(place), torch.empty_like(place)
    by_map = mask.flatten(0, 1).numpy()
    fixed = block.region.numpy(), block.place.numpy(), block.regions, divided.shape[1]
    number_branches(by_map, place.numpy(), *fixed, number.numpy(), row.numpy())
    count = len(by_map) * block.regions
    lists = lists_of(number, 2 * count)
    parts = [(lists.part(i * count, (i + 1) * count), own.block()) for i, own in enumerate(blocks)]
    return run_lists(divided.tokens, table, row, parts, block.leak)


def sort_branches(mask: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return flat indices (B N L) into ``mask`` (B, N, L), the ``k`` True of every class, then the others; inverse."""
    rows = mask.flatten(0, 1)
    if rows.is_cpu and not watched():
        from repro.layers.compiled_lists import divide

        order, place = (torch.empty(rows.numel(), dtype=torch.int64) for _ in range(2))
        divide(rows.numpy(), k, order.numpy(), place.numpy())
        return order, place
    rank = (~rows).to(torch.uint8).argsort(dim=1, stable=True)
    rank = rank + rows.shape[1] * torch.arange(len(rows), device=mask.device).unsqueeze(1)
    order = torch.cat([rank[:, :k].flatten(), rank[:, k:].flatten()])
    return order, inverse(order)


def inverse(order: Tensor) -> Tensor:
    """Return the permutation that undoes ``order``."""
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


def _project(block: GuidedWindowBlock, tokens: Tensor, offset: Tensor) -> Tensor:
    """Return q, k, v (T, 3 C) of ``tokens`` (T, C) with ``offset`` (T, 3 C), which the product begins from."""
    return torch.addmm(offset, block.norm1(tokens), block.attn.token_weight().t())


def _blocks(pair: GuidedSwinPair) -> Blocks:
    return pair.block_1, pair.block_2


def _each(function: Callable[..., Tensor], blocks: Sequence[GuidedWindowBlock], *parts: Sequence[Tensor]) -> Tensor:
    """Return ``function(block, own part of each)`` of both branches, one after the other."""
    return torch.cat([function(block, *own) for block, *own in zip(blocks, *parts, strict=True)])
