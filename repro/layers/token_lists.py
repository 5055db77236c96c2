"""Swin blocks whose tokens attend to those of their own list, compiled where that serves (docs/performance.md).

Windows, the regions that a shift leaves within them and the branches of DiSa are lists of tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from repro.layers.compiling import LANES, affine, array, scales, serves
from repro.layers.parallel import each, threads
from repro.layers.tokens import Mlp

if TYPE_CHECKING:
    from repro.layers.compiled_block import Weights

Result = TypeVar("Result")

NEGLIGIBLE = 30.0
"""Scores so far apart that the lower one's weight, e^-30, is less than the rounding of float32 among 10^5 keys."""


class Lists(NamedTuple):
    """Tokens by list: list i has ``members[starts[i] : starts[i + 1]]``; each token is in one."""

    members: Tensor
    starts: Tensor

    def part(self, first: int, end: int) -> Lists:
        """Return lists ``first`` to ``end``, that one not among them."""
        return Lists(self.members, self.starts[first : end + 1])

    def parts(self, count: int) -> list[Lists]:
        """Return at most ``count`` parts of about as many tokens."""
        if count == 1:
            return [self]
        begin, end = self.starts[0], self.starts[-1]
        wanted = begin + (end - begin) * torch.arange(1, count) // count
        cuts = [0, *torch.searchsorted(self.starts.contiguous(), wanted).tolist(), len(self.starts) - 1]
        return [self.part(a, b) for a, b in itertools.pairwise(cuts) if a < b]


def lists_of(number: Tensor, count: int) -> Lists:
    """Return the lists of tokens of equal ``number`` (R) below ``count``, in their order; on the CPU."""
    from repro.layers.compiled_lists import group

    lists = Lists(torch.empty_like(number), number.new_zeros(count + 1))
    group(number.numpy(), lists.members.numpy(), lists.starts.numpy())
    return lists


def compiled(x: Tensor, head_width: int, hidden: int) -> bool:
    """Tell whether :func:`run_lists` takes tokens like ``x`` with heads and a hidden layer so wide."""
    return head_width % LANES == 0 and hidden % LANES == 0 and serves(x, recorded=True)


class Block(NamedTuple):
    """A block's parts; ``qkv`` (3 C, C) maps tokens to q, k, v, the bias of which comes with the guidance.

    Norms come ``after`` the residuals or before; the MLP has GELU or ReLU.
    """

    norm1: nn.LayerNorm
    qkv: Tensor
    proj: nn.Linear
    norm2: nn.LayerNorm
    mlp: Mlp
    heads: int
    after: bool = False

    def weights(self) -> Weights:
        """Return the parameters as the loops take them."""
        from repro.layers.compiled_block import Weights

        return Weights(
            norm1=array(scales(self.norm1)),
            qkv=array(self.qkv.t()),
            proj=array(affine(self.proj)),
            norm2=array(scales(self.norm2)),
            fc1=array(affine(self.mlp.fc1)),
            fc2=array(affine(self.mlp.fc2)),
            eps=self.norm1.eps,
            after=self.after,
            rectified=self.mlp.activation is F.relu,
        )

    def parameters(self) -> tuple[Tensor, ...]:
        """Return the parameters, those of each part together."""
        rest = (self.proj, self.norm2, self.mlp.fc1, self.mlp.fc2)
        pairs = ((part.weight, part.bias) for part in rest)
        return (self.norm1.weight, self.norm1.bias, self.qkv, *(tensor for pair in pairs for tensor in pair))

    def matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the matrices, from outputs to inputs."""
        return self.qkv, self.proj.weight, self.mlp.fc1.weight, self.mlp.fc2.weight


Part = tuple[Lists, Block]
"""Lists, and the block that their tokens go through."""


def run_lists(x: Tensor, guidance: Tensor, place: Tensor, parts: Sequence[Part], leak: float | None) -> Tensor | None:
    """Return what blocks make of the tokens ``x`` (R, C), each of which is in a list of one of ``parts``: (R, C).

    ``place`` (R) names each token's row of ``guidance`` (P, 3 C), which is added to its q, k, v. ``leak`` is what is
    added to the scores of tokens of other lists, None if they do not take part: the result is None where their
    weights might not be negligible. First derivatives only.
    """
    if not torch.is_grad_enabled():
        return _Call(place, parts).forward(x, guidance, leak)
    parameters = (p for _, block in parts for p in block.parameters())
    result: Tensor | None = _Recorded.apply(place, parts, leak, x, guidance, *parameters)
    return result


class _Call:
    """Blocks over lists, and what their backward pass needs beside the tensors."""

    def __init__(self, place: Tensor, parts: Sequence[Part]) -> None:
        self.place, self.parts = place.numpy(), parts
        self.weights = [block.weights() for _, block in parts]

    def forward(self, x: Tensor, guidance: Tensor, leak: float | None) -> Tensor | None:
        """Return what :func:`run_lists` does."""
        from repro.layers.compiled_block import run_block

        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        tokens, table, out = array(x), array(guidance), result.numpy()

        def run(number: int, members: Any, starts: Any) -> float:
            heads, weights = self.parts[number][1].heads, self.weights[number]
            return run_block(tokens, table, self.place, members, starts, weights, heads, leak is not None, out)

        apart = self._each(run, x.device)
        return result if leak is None or all(value < -leak - NEGLIGIBLE for value in apart) else None

    def backward(self, x: Tensor, guidance: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of ``x``, ``guidance`` and the parameters of each block by that of ``out``."""
        from repro.layers.compiled_block_back import Gradients, Transposed, run_block_back

        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        tokens, table, moved, out = array(x), array(guidance), array(grad), result.numpy()
        matrices = [Transposed(*(array(m) for m in block.matrices())) for _, block in self.parts]

        def run(number: int, members: Any, starts: Any) -> tuple[int, Tensor, list[Tensor]]:
            block, weights = self.parts[number][1], self.weights[number]
            made = [torch.zeros_like(p, memory_format=torch.contiguous_format) for p in block.parameters()]
            to_table, sums = torch.zeros_like(guidance), Gradients(*(tensor.numpy() for tensor in made))
            lists, to_both = (self.place, members, starts), (to_table.numpy(), sums)
            run_block_back(tokens, table, *lists, weights, matrices[number], block.heads, moved, out, *to_both)
            return number, to_table, made

        found = self._each(run, x.device)
        to_table = sum((own for _, own, _ in found), torch.zeros_like(guidance))
        added: list[list[Tensor]] = [[] for _ in self.parts]
        for number, _, made in found:
            added[number] = [a.add_(b) for a, b in zip(added[number], made, strict=True)] if added[number] else made
        return result, to_table, *(tensor for made in added for tensor in made)

    def _each(self, function: Callable[[int, Any, Any], Result], device: torch.device) -> list[Result]:
        """Return ``function(block, members, starts)`` of parts of the lists, as many as there are threads."""
        divided = [(i, part) for i, (lists, _) in enumerate(self.parts) for part in lists.parts(threads(device))]
        ready = [(i, part.members.numpy(), part.starts.numpy()) for i, part in divided]
        return each(lambda i: function(*ready[i]), len(ready), device)


class _Recorded(torch.autograd.Function):
    """A call with its backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        place: Tensor,
        parts: Sequence[Part],
        leak: float | None,
        x: Tensor,
        guidance: Tensor,
        *parameters: Tensor,
    ) -> Tensor | None:
        ctx.call = _Call(place, parts)
        ctx.save_for_backward(x, guidance, *parameters)  # parameters: to notice where one is changed meanwhile
        out: Tensor | None = ctx.call.forward(x, guidance, leak)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, guidance, *_ = ctx.saved_tensors
        return None, None, None, *ctx.call.backward(x, guidance, grads[0])
