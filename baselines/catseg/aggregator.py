"""CAT-Seg's cost aggregation network, from features to logits (docs/specs/catseg.md, Aggregator)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.catseg.options import CatSegOptions
from repro.layers.class_attention import ClassAggregation
from repro.layers.cost_volume import CostEmbedding, cosine_cost, scatter_logits, top_classes
from repro.layers.decoder import CostDecoder
from repro.layers.tokens import chunk_elements
from repro.layers.window_attention import GuidedSwinPair

PRUNED = -100.0
"""Logit of a class that pruning left out (official value)."""
MASKED = {"minus_100": -100.0, "minus_inf": -math.inf}


class AggregatorLayer(nn.Module):
    """Spatial aggregation, then class aggregation."""

    def __init__(self, options: CatSegOptions, grid: int) -> None:
        super().__init__()
        o = options
        masked = MASKED[o.masked_attention]
        self.swin = GuidedSwinPair(o.hidden, o.appearance_guidance, o.heads, grid, o.window, o.mlp_ratio, masked)
        self.classes = ClassAggregation(
            o.hidden,
            o.text_guidance,
            o.heads,
            o.pad_len,
            grid,
            o.pooling,
            o.mlp_ratio,
            test_pooling=o.test_pooling,
            align_corners=o.pool_align_corners,
            residual=o.class_residual,
            padding=o.padding,
        )

    def forward(self, x: Tensor, appearance: Tensor, text: Tensor) -> Tensor:
        """Map tokens (B, T, L, C), appearance guidance (B, L, G), text guidance (B or 1, T, G) to (B, T, L, C)."""
        return self.classes(self.swin(x, appearance), text)


class Aggregator(nn.Module):
    """Dense features, text features and decoder guidance to one logit map a class.

    ``embed_dim`` is the width of the common space, ``grid`` the side of the dense map.
    """

    def __init__(self, options: CatSegOptions, embed_dim: int, grid: int) -> None:
        super().__init__()
        o = options
        self.kept = o.pad_len if o.pruning == "per_view" else 0
        self.embedding = CostEmbedding(len(o.templates), o.hidden, o.cost_kernel)
        self.appearance = nn.Conv2d(embed_dim, o.appearance_guidance, 3, padding=1)
        self.text = nn.Linear(embed_dim, o.text_guidance) if o.text_guidance else None
        self.decoder_guidance = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(o.decoder_guidance, o.decoder_guidance_proj, strict=True)
        )
        self.layers = nn.ModuleList(AggregatorLayer(o, grid) for _ in range(o.layers))
        self.decoder = CostDecoder(o.hidden, o.decoder_dims, o.decoder_guidance_proj, grid)

    def forward(self, features: Tensor, text: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """Return logits (B, T, h, w) of ``features`` (B, C, H, W), ``text`` (T, P, C) and ``guides``, smallest first.

        More than ``pad_len`` classes are pruned per image to the ones with the largest cosine anywhere; the others
        get the logit -100 (unless ``pruning`` is off). Where no gradient is recorded images go one by one: each keeps
        its own classes, and memory is bounded by the cost volume of one image, whatever the batch.
        """
        kept = min(self.kept or text.shape[0], text.shape[0])
        volume = len(features) * kept * features[0, 0].numel() * self.embedding.conv.out_channels
        if torch.is_grad_enabled() or len(features) == 1 or volume <= chunk_elements(features.device):
            return self._logits(features, text, guides)
        result: Tensor | None = None
        for image in range(len(features)):
            own = slice(image, image + 1)
            logits = self._logits(features[own], text, [g[own] for g in guides])
            if result is None:
                result = logits.new_empty(len(features), *logits.shape[1:])
            result[own] = logits
        return result  # type: ignore[return-value]

    def _logits(self, features: Tensor, text: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """Run :meth:`forward` on all images at once."""
        classes = text.shape[0]
        text = text.unsqueeze(0)
        cost = cosine_cost(features, text)
        chosen = top_classes(cost, self.kept) if 0 < self.kept < classes else None
        if chosen is not None:
            cost = cost.gather(2, chosen[:, None, :, None, None].expand(-1, cost.shape[1], -1, *cost.shape[3:]))
            text = text[0][chosen]
        x = self.embedding(cost)
        appearance = F.relu(self.appearance(features)).flatten(2).transpose(1, 2)
        words = self._words(text)
        for layer in self.layers:
            x = layer(x, appearance, words)
        projected = [F.relu(conv(g)) for conv, g in zip(self.decoder_guidance, guides, strict=True)]
        logits: Tensor = self.decoder(x, projected)
        return logits if chosen is None else scatter_logits(logits, chosen, classes, PRUNED)

    def _words(self, text: Tensor) -> Tensor:
        """Return text guidance (B or 1, T, G) of text features (B or 1, T, P, C); G is 0 where there is none."""
        if self.text is None:
            return text.new_zeros(*text.shape[:2], 0)
        return F.relu(self.text(F.normalize(text.mean(dim=2), dim=-1)))
