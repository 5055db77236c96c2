"""Saliency-aware disentangling module (Sec. 3.3): image-text matching by cross-attention, and what it looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disa.options import SaliencyTarget
from disa.saliency import layer_norm_vjp, mlp_vjp, softmax_vjp, weighted_attention
from repro.layers.norms import LayerNorm
from repro.layers.precision import full_precision
from repro.layers.tokens import Mlp


class LayerState(NamedTuple):
    """What the gradients of one layer need of its forward pass; h heads of d channels, N classes, L places."""

    x: Tensor
    """Input tokens (B, N, C)."""
    key: Tensor
    """(B, h, L, d)."""
    value: Tensor
    """(B, h, L, d)."""
    attention: Tensor
    """A of the paper: (B, h, N, L)."""
    attended: Tensor
    """Tokens after the attention and its residual (B, N, C)."""
    hidden: Tensor
    """Feed-forward activations before the GELU (B, N, ratio C)."""


class CrossAttentionLayer(nn.Module):
    """Class tokens look at the image, each on its own: x + attention(LN(x), image), then x + FFN(LN(x)).

    The keys have no bias: it would shift all logits of a query alike and cancel in the softmax.
    """

    def __init__(self, dim: int, head_dim: int, ratio: float) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.scale = head_dim**-0.5
        self.norm1 = LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, ratio, F.gelu)

    def _heads(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to (B, h, L, d)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, LayerState]:
        """Map class tokens (B, N, C) and image tokens (B, L, C) to class tokens (B, N, C)."""
        query = self._heads(self.query(self.norm1(x)) * self.scale)
        key, value = self._heads(self.key(image)), self._heads(self.value(image))
        attention = (query @ key.transpose(-1, -2)).softmax(dim=-1)
        attended = x + self.proj((attention.to(value.dtype) @ value).transpose(1, 2).flatten(2))
        hidden = self.mlp.fc1(self.norm2(attended))
        out = attended + self.mlp.fc2(F.gelu(hidden))
        return out, LayerState(x, key, value, attention, attended, hidden)

    def attention_vjp(self, grad: Tensor, state: LayerState) -> tuple[Tensor, Tensor]:
        """Map the gradient (B, N, C) by the output to those by ``attended`` (B, N, C) and ``attention`` (B, h, N, L).

        With o_n = concat_h(A_nh V_h), ds_n/dA_nh = V_h (ds_n/do_n)_h.
        """
        grad = grad + layer_norm_vjp(mlp_vjp(grad, state.hidden, self.mlp), state.attended, self.norm2)
        mixed = self._heads(grad @ self.proj.weight)
        return grad, mixed @ state.value.transpose(-1, -2)

    def input_vjp(self, attended: Tensor, attention: Tensor, state: LayerState) -> Tensor:
        """Map gradients by ``attended`` and by ``attention`` to that by the input class tokens (B, N, C)."""
        query = (softmax_vjp(attention, state.attention) @ state.key * self.scale).transpose(1, 2).flatten(2)
        return attended + layer_norm_vjp(query @ self.query.weight, state.x, self.norm1)


class MatchingHead(nn.Module):
    """Image-text matching: two logits (not matched, matched) of each class token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.mlp = Mlp(dim, 1.0, F.gelu)
        self.mlp.fc2 = nn.Linear(dim, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map class tokens (B, N, C) to logits (B, N, 2), activations before the GELU (B, N, C)."""
        hidden = self.mlp.fc1(self.norm(x))
        return self.mlp.fc2(F.gelu(hidden)), hidden

    def vjp(self, grad: Tensor, x: Tensor, hidden: Tensor) -> Tensor:
        """Map the gradient by the logits (B, N, 2) to that by the class tokens (B, N, C)."""
        return layer_norm_vjp(mlp_vjp(grad, hidden, self.mlp), x, self.norm)


class Matching(NamedTuple):
    """Result of the module's forward pass."""

    logits: Tensor
    """(B, N, 2): not matched, matched."""
    tokens: Tensor
    """Class tokens after the last layer (B, N, C)."""
    hidden: Tensor
    """Activations of the head (B, N, C)."""
    layers: tuple[LayerState, ...]


class SaliencyModule(nn.Module):
    """Cross-attention layers, matching head, and the saliency of each class over the places (Eq. 2)."""

    def __init__(self, dim: int, layers: int, head_dim: int, ratio: float) -> None:
        super().__init__()
        if dim % head_dim or layers < 1:
            raise ValueError(f"heads of {head_dim} must divide {dim} channels in one layer or more ({layers})")
        self.norm = LayerNorm(dim)
        self.layers = nn.ModuleList(CrossAttentionLayer(dim, head_dim, ratio) for _ in range(layers))
        self.head = MatchingHead(dim)

    def forward(self, text: Tensor, image: Tensor) -> Matching:
        """Map text tokens (N, C) of the classes and image tokens (B, L, C) to matching of every pair."""
        image = self.norm(image)
        x = text.expand(image.shape[0], -1, -1)
        states = []
        for layer in self.layers:
            x, state = layer(x, image)
            states.append(state)
        logits, hidden = self.head(x)
        return Matching(logits, x, hidden, tuple(states))

    def attention(self, found: Matching, layer: int | Literal["mean"]) -> Tensor:
        """Compute attention alone: mean over heads (B, N, L), detached."""
        chosen = found.layers if layer == "mean" else (found.layers[layer],)
        return torch.stack([s.attention.detach().to(torch.get_default_dtype()).mean(dim=1) for s in chosen]).mean(dim=0)

    def saliency(
        self,
        found: Matching,
        layer: int | Literal["mean"] = -1,
        target: SaliencyTarget = "score",
        labels: Tensor | None = None,
        *,
        live: bool = False,
    ) -> Tensor:
        """Compute Eq. 2 (B, N, L): attention of ``layer`` weighted by the positive part of its gradient.

        ``score`` differentiates the matched logit of each class, ``margin`` what it has over the other logit, ``loss``
        the cross-entropy of both with ``labels`` (B, N), 1 where the class is in the image (None: everywhere, as at
        inference). Computed in the precision of the weights, also under autocast. Detached; with ``live`` the
        attention keeps its graph and its weights are constants.
        """
        with full_precision(self.head.norm.weight.device.type):  # rankings should not depend on eight bits
            with torch.no_grad():
                gradients = self._gradients(found, layer, target, labels)
            maps = []
            for number, gradient in gradients.items():
                attention = found.layers[number].attention.to(gradient.dtype)
                maps.append(weighted_attention(gradient, attention if live else attention.detach()))
            return torch.stack(maps).mean(dim=0)

    def _gradients(
        self, found: Matching, layer: int | Literal["mean"], target: SaliencyTarget, labels: Tensor | None
    ) -> dict[int, Tensor]:
        """Return the gradient (B, h, N, L) by the attention of each layer that is asked for."""
        weight = self.head.norm.weight
        logits = found.logits.to(weight.dtype)
        matched = torch.ones_like(logits[..., 0]) if labels is None else labels.to(logits.dtype)
        if target == "loss":
            grad = logits.softmax(dim=-1) - torch.stack([1 - matched, matched], dim=-1)
        else:
            other = torch.full_like(matched, -1.0 if target == "margin" else 0.0)
            grad = torch.stack([other, torch.ones_like(matched)], dim=-1)
        grad = self.head.vjp(grad, found.tokens.to(weight.dtype), found.hidden.to(weight.dtype))
        count = len(self.layers)
        wanted = range(count) if layer == "mean" else (layer % count,)
        gradients = {}
        for number in reversed(range(min(wanted), count)):
            block: CrossAttentionLayer = self.layers[number]  # type: ignore[assignment]
            state = LayerState(*(tensor.to(weight.dtype) for tensor in found.layers[number]))
            attended, attention = block.attention_vjp(grad, state)
            if number in wanted:
                gradients[number] = attention
            if number > min(wanted):
                grad = block.input_vjp(attended, attention, state)
        return gradients
