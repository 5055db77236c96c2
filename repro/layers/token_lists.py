"""Attention of tokens to those of their own list, by compiled loops where they serve (docs/performance.md)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from repro.layers.compiling import serves

LANES = 16
"""The compiled loops take heads whose width is a multiple of this."""
NEGLIGIBLE = 30.0
"""Scores so far apart that the lower one's weight, e^-30, is less than the rounding of float32 among 10^5 keys."""


class Lists(NamedTuple):
    """Tokens by list: list i has ``members[starts[i] : starts[i + 1]]``; each token is in one."""

    members: Tensor
    starts: Tensor


def lists_of(number: Tensor, count: int) -> Lists:
    """Return the lists of tokens of equal ``number`` (R) below ``count``, in their order; on the CPU."""
    from repro.layers.compiled_attention import group

    lists = Lists(torch.empty_like(number), number.new_zeros(count + 1))
    group(number.numpy(), lists.members.numpy(), lists.starts.numpy())
    return lists


def compiled(x: Tensor, head_width: int) -> bool:
    """Tell whether :func:`attend` takes tokens like ``x``."""
    return head_width % LANES == 0 and serves(x)


def attend(
    qkv: Tensor, guidance: Tensor, place: Tensor, lists: Lists, heads: int, leak: float | None = None
) -> Tensor | None:
    """Add guidance to q, k, v (R, 3 C), in place, and return each token's attention over its own list (R, C).

    ``place`` (R) names each token's row of ``guidance`` (P, 3 C). ``leak`` is what is added to the scores of tokens of
    other lists, None if they do not take part: the result is None where their weights might not be negligible.
    """
    from repro.layers.compiled_attention import attend_lists

    out = qkv.new_empty(qkv.shape[0], qkv.shape[1] // 3)
    apart = attend_lists(
        qkv.detach().numpy(),
        guidance.detach().numpy(),
        place.numpy(),
        lists.members.numpy(),
        lists.starts.numpy(),
        heads,
        leak is not None,
        out.numpy(),
    )
    return out if leak is None or apart < -leak - NEGLIGIBLE else None
