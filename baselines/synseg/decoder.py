"""The decoder of SynSeg: CLIPSeg's, conditioned on a class by FiLM."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.layers.norms import LayerNorm
from repro.layers.token_lists import Block, Lists, compiled, run_lists
from repro.layers.tokens import Mlp


class Film(nn.Module):
    """Scale and shift of each channel from the text feature of a class; at first one and zero, and as much again."""

    def __init__(self, text_dim: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(text_dim, hidden)
        self.fc2 = nn.Linear(hidden, 2 * dim)
        # Gains that keep a mean square of 1: with smaller ones, maps of different classes hardly differ at first.
        nn.init.kaiming_normal_(self.fc1.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.fc2.weight, nonlinearity="linear")
        nn.init.ones_(self.fc2.bias[:dim])
        nn.init.zeros_(self.fc2.bias[dim:])

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Map L2-normalised text features (N, C) to gamma and beta (N, D).

        They are brought to a mean square of 1 first, the scale an MLP expects.
        """
        hidden = F.relu(self.fc1(text * text.shape[-1] ** 0.5))
        gamma, beta = self.fc2(hidden).chunk(2, dim=-1)
        return gamma, beta


class DecoderLayer(nn.Module):
    """A transformer layer with norms after the residuals, as in CLIPSeg."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm1 = LayerNorm(dim)
        self.mlp = Mlp(dim, hidden / dim, F.relu)
        self.norm2 = LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (P, L, D) to (P, L, D)."""
        if compiled(x, self.qkv.in_features // self.heads, self.mlp.fc1.out_features):
            return self._by_lists(x)
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.proj(attended))
        return self.norm2(x + self.mlp(x))

    def _by_lists(self, x: Tensor) -> Tensor:
        """Run the layer with the tokens of each pair as a list."""
        rows = x.reshape(-1, x.shape[2])
        every = torch.arange(len(rows) + 1)
        lists = Lists(every[:-1], every[:: x.shape[1]])
        block = Block(self.norm1, self.qkv.weight, self.proj, self.norm2, self.mlp, self.heads, after=True)
        out = run_lists(rows, self.qkv.bias.unsqueeze(0), torch.zeros_like(lists.members), [(lists, block)], None)
        assert out is not None  # there is no leak
        return out.view(x.shape)


class ActivationDecoder(nn.Module):
    """Activations of several CLIP blocks to one semantic-activation map a class.

    Each is reduced to ``dim`` channels; the deepest is conditioned on the class, the others are added stage by stage;
    every stage ends with a transformer layer. ``channels`` are those of the blocks, the deepest first; ``patch`` is
    the side in pixels of a place, to which the last transposed convolution returns. ``normalise``: each token of an
    activation goes through a LayerNorm without weights first.
    """

    def __init__(
        self, channels: Sequence[int], dim: int, heads: int, hidden: int, patch: int, normalise: bool = False
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.reduces = nn.ModuleList(nn.Linear(c, dim) for c in channels)
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, hidden) for _ in channels)
        self.head = nn.ConvTranspose2d(dim, 1, patch, patch)
        with torch.no_grad():  # one value per place at first: a pattern within places would be the same in all of them
            self.head.weight.copy_(self.head.weight.mean(dim=(2, 3), keepdim=True).expand_as(self.head.weight) * patch)

    def reduce(self, activations: Sequence[Tensor]) -> list[Tensor]:
        """Turn maps (B, c, H, W), the deepest first, into tokens (B, L, D) of each: what all classes share."""
        tokens = [a.flatten(2).transpose(1, 2) for a in activations]
        if self.normalise:
            tokens = [F.layer_norm(t, t.shape[-1:]) for t in tokens]
        return [reduce(t) for reduce, t in zip(self.reduces, tokens, strict=True)]

    def tokens(self, conditional: Tensor, shallower: Sequence[Tensor]) -> Tensor:
        """Map conditional features and the other stages' tokens (P, L, D) of P pairs to the last layer's tokens."""
        x = self.layers[0](conditional)
        for layer, tokens in zip(self.layers[1:], shallower, strict=True):
            x = layer(tokens + x)
        return x

    def forward(self, conditional: Tensor, shallower: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Map conditional features and the other stages' tokens (P, L, D) of P pairs to logits
        (P, patch H, patch W).
        """
        return self.maps(self.tokens(conditional, shallower), grid)

    def maps(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map tokens (P, L, D) to logits (P, patch H, patch W).

        Patches of a transposed convolution that do not overlap are a linear map of each token: many times faster.
        """
        patch = self.head.kernel_size[0]
        bias = self.head.bias.expand(patch * patch)  # type: ignore[union-attr]
        pixels = F.linear(tokens, self.head.weight.flatten(1).t(), bias)
        return pixels.view(-1, *grid, patch, patch).transpose(2, 3).flatten(3, 4).flatten(1, 2)
