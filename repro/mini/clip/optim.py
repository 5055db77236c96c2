"""The optimiser of the tiny CLIP: Muon for the matrices of the blocks, Adam for the rest, sparse Adam for word tokens.

Muon (Jordan 2024) replaces the update of a matrix by its nearest orthogonal one; on a few hundred steps it learns
markedly faster than AdamW. torch.optim.Muon iterates in bfloat16, which is slow on CPUs without it; this one uses the
parameter's own type. Word tokens: a dense step over 49,408 rows would cost more than the image tower.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def orthogonalised(update: Tensor, iterations: int = 5) -> Tensor:
    """Return matrices (N, m, n) with all singular values moved to about 1, by a quintic Newton-Schulz iteration."""
    flipped = update.shape[1] > update.shape[2]
    x = update.mT if flipped else update
    x = x.contiguous() / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.mT if flipped else x


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum for matrices; updates have the root mean square 0.2 lr, as AdamW's have.

    Matrices of one shape are updated in one batched product: a product of 128 x 128 spends two thirds of its time on
    starting threads. A joint projection of queries, keys and values, (3 w, w), is three matrices.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(list(params), {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient once."""
        for group in self.param_groups:
            stacks: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(state["momentum"], group["momentum"])
                for pair in zip(_matrices(parameter), _matrices(update), strict=True):
                    stacks.setdefault(pair[0].shape, []).append(pair)
            for shape, pairs in stacks.items():
                updates = orthogonalised(torch.stack([update for _, update in pairs]))
                rate = -group["lr"] * 0.2 * math.sqrt(max(shape))
                for (matrix, _), update in zip(pairs, updates, strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=rate)


def _matrices(weight: Tensor) -> tuple[Tensor, ...]:
    """Return a joint projection of queries, keys and values as its three matrices, any other matrix as it is."""
    return weight.chunk(3) if weight.shape[0] == 3 * weight.shape[1] else (weight,)


class Optimisers:
    """The three optimisers of one model as one, each with its own base rate and a common schedule."""

    def __init__(self, model: nn.Module, lr: float, matrix_lr: float, token_lr: float, weight_decay: float) -> None:
        tokens: list[nn.Parameter] = []
        matrices: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if name == "token_embedding.weight":
                tokens.append(parameter)
            elif "resblocks" in name and parameter.ndim == 2:
                matrices.append(parameter)
            else:
                (decayed if parameter.ndim > 1 else plain).append(parameter)
        adam = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.clipped = [*matrices, *decayed, *plain]
        self.all: tuple[tuple[torch.optim.Optimizer, float], ...] = (
            (torch.optim.AdamW(adam, lr=lr, betas=(0.9, 0.98), fused=True), lr),
            (Muon(matrices, matrix_lr, weight_decay), matrix_lr),
            (torch.optim.SparseAdam(tokens, lr=token_lr), token_lr),
        )

    def step(self, factor: float) -> None:
        """Clip the gradient norm to 1 and update with ``factor`` times the base rates."""
        torch.nn.utils.clip_grad_norm_(self.clipped, 1.0)
        for optimiser, base in self.all:
            for group in optimiser.param_groups:
                group["lr"] = base * factor
            optimiser.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of all three."""
        return [optimiser.state_dict() for optimiser, _ in self.all]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Continue from :meth:`state_dict`."""
        for (optimiser, _), state in zip(self.all, states, strict=True):
            optimiser.load_state_dict(state)


def rate(step: int, steps: int, warmup: int) -> float:
    """Return a fraction of the base rate: linear warm-up, then a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
