"""Swin blocks whose tokens attend to those of their own list, compiled where that serves (docs/performance.md).

Windows, the regions that a shift leaves within them and the branches of DiSa are lists of tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.layers.compiling import LANES, affine, array, scales, serves
from repro.layers.tokens import Mlp

if TYPE_CHECKING:
    from repro.layers.compiled_block import Weights

NEGLIGIBLE = 30.0
"""Scores so far apart that the lower one's weight, e^-30, is less than the rounding of float32 among 10^5 keys."""


class Lists(NamedTuple):
    """Tokens by list: list i has ``members[starts[i] : starts[i + 1]]``; each token is in one."""

    members: Tensor
    starts: Tensor

    def part(self, first: int, end: int) -> Lists:
        """Return lists ``first`` to ``end``, that one not among them."""
        return Lists(self.members, self.starts[first : end + 1])


def lists_of(number: Tensor, count: int) -> Lists:
    """Return the lists of tokens of equal ``number`` (R) below ``count``, in their order; on the CPU."""
    from repro.layers.compiled_attention import group

    lists = Lists(torch.empty_like(number), number.new_zeros(count + 1))
    group(number.numpy(), lists.members.numpy(), lists.starts.numpy())
    return lists


def compiled(x: Tensor, head_width: int, hidden: int) -> bool:
    """Tell whether :func:`run_lists` takes tokens like ``x`` with heads and a hidden layer so wide."""
    return head_width % LANES == 0 and hidden % LANES == 0 and serves(x)


def packed(
    norm1: nn.LayerNorm, qkv: Tensor, proj: nn.Linear, norm2: nn.LayerNorm, mlp: Mlp, after: bool = False
) -> Weights:
    """Return the parameters of a block as its loops take them; ``qkv`` (3 C, C) maps tokens to q, k, v.

    Norms come ``after`` the residuals or before; the MLP has GELU or ReLU.
    """
    from repro.layers.compiled_block import Weights

    return Weights(
        norm1=array(scales(norm1)),
        qkv=array(qkv.t()),
        proj=array(affine(proj)),
        norm2=array(scales(norm2)),
        fc1=array(affine(mlp.fc1)),
        fc2=array(affine(mlp.fc2)),
        eps=norm1.eps,
        after=after,
        rectified=mlp.activation is F.relu,
    )


def run_lists(
    x: Tensor,
    guidance: Tensor,
    place: Tensor,
    lists: Lists,
    weights: Weights,
    heads: int,
    leak: float | None,
    out: Tensor,
) -> bool:
    """Write to ``out`` what a block makes of those of the tokens ``x`` (R, C) that are in ``lists``.

    ``place`` (R) names each token's row of ``guidance`` (P, 3 C), which is added to its q, k, v. ``leak`` is what is
    added to the scores of tokens of other lists, None if they do not take part: the result is False, and what was
    written has no meaning, where their weights might not be negligible.
    """
    from repro.layers.compiled_block import run_block

    apart = run_block(
        array(x),
        array(guidance),
        place.numpy(),
        lists.members.numpy(),
        lists.starts.numpy(),
        weights,
        heads,
        leak is not None,
        out.numpy(),
    )
    return leak is None or apart < -leak - NEGLIGIBLE
