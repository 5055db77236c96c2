"""From the correlation and the split of its tokens to one logit map per class (Sec. 3.4, 3.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from disa.aggregation import Aggregation
from disa.hrm import Refinement
from disa.options import DisaOptions
from disa.pixelwise import Divided, refine_branches
from repro.layers.cost_volume import CostEmbedding
from repro.layers.decoder import CostDecoder
from repro.layers.parallel import each
from repro.layers.tokens import chunk_step

NORM_OPERATIONS = 5
"""Operations an element of a norm's input in published counts."""


class Guidance(NamedTuple):
    """What all classes of an image share, computed once."""

    branches: list[list[Tensor]]
    aggregation: list[list[Tensor]]
    decoder: list[Tensor]

    def image(self, index: int) -> Guidance:
        """Return the guidance of one image, with a batch axis of one."""
        part = slice(index, index + 1)
        return Guidance(
            [[t[part] for t in branch] for branch in self.branches],
            [[t[part] for t in layer] for layer in self.aggregation],
            [t[part] for t in self.decoder],
        )


def _two_pairs(segmenter: Segmenter, x: Tensor, *_: object) -> int:
    """Count Swin pairs of both branches over all tokens (B, N, L, D), guidance joined to queries and keys of all.

    A token of a block: q, k, v, projection, MLP, two products of attention, 5 operations per norm; a pair: its norm.
    """
    pairs = [branch.swin for branch in segmenter._branches() if branch.swin is not None]
    total = 0
    for pair in pairs:
        block, dim = pair.block_1, x.shape[-1]
        joint, hidden = block.attn.q.in_features, block.mlp.fc1.out_features
        a_token = dim * (2 * joint + 2 * dim + 2 * hidden + 2 * block.window**2 + 2 * NORM_OPERATIONS)
        total += x.numel() // dim * (2 * a_token + NORM_OPERATIONS * (joint - dim))
    return total


class Segmenter(nn.Module):
    """Correlation embedding, refinement of each branch, aggregation, decoder.

    Classes meet in one place, the semantic prototype. Where no gradient is recorded, images go one by one and classes
    in chunks, twice: up to the prototypes, and from them on. Memory is bounded by one refined map (L, D) per class.
    """

    def __init__(self, options: DisaOptions, embed_dim: int, grid: int) -> None:
        super().__init__()
        o = options
        self.embedding = CostEmbedding(1, o.hidden, o.cost_kernel)
        self.appearance = nn.Conv2d(embed_dim, o.appearance_guidance, 3, padding=1)
        self.decoder_guidance = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(o.decoder_guidance, o.decoder_guidance_proj, strict=True)
        )
        self.k = o.tokens(grid**2) if o.splits == "sdm" and o.k_policy != "adaptive" else None
        separate = o.splits != "none" and not o.share_branches
        self.refinements = nn.ModuleList(Refinement(o, grid) for _ in range(1 + separate))
        self.aggregation = Aggregation(o, grid)
        self.decoder = CostDecoder(o.hidden, o.decoder_dims, o.decoder_guidance_proj, grid)

    def guide(self, features: Tensor, guides: Sequence[Tensor]) -> Guidance:
        """Return guidance from dense features (B, C, H, W) and upsampled CLIP maps, smallest first."""
        appearance = F.relu(self.appearance(features)).flatten(2).transpose(1, 2)
        branches = [refinement.guide(appearance) for refinement in self.refinements]  # type: ignore[operator]
        projected = [F.relu(conv(g)) for conv, g in zip(self.decoder_guidance, guides, strict=True)]
        return Guidance(branches, self.aggregation.guide(appearance), projected)

    def forward(self, cost: Tensor, mask: Tensor | None, guidance: Guidance, share: Tensor | None = None) -> Tensor:
        """Return logits (B, N, h, w) of cosines ``cost`` (B, 1, N, H, W).

        ``mask`` (B, N, L) is True (or, soft, near 1) at foreground tokens; None does not split. ``share`` (B, N, L)
        takes the gradient of a binary mask where the branches are gated.
        """
        if torch.is_grad_enabled():
            return self._segment(cost, mask, guidance, [slice(None)], share)
        places = cost.shape[-2] * cost.shape[-1]
        step = chunk_step(cost.shape[2], places, self.embedding.conv.out_channels, cost.device)
        chunks = [slice(start, start + step) for start in range(0, cost.shape[2], step)]
        return torch.cat(
            [
                self._segment(cost[i : i + 1], None if mask is None else mask[i : i + 1], guidance.image(i), chunks)
                for i in range(len(cost))
            ]
        )

    def _segment(
        self,
        cost: Tensor,
        mask: Tensor | None,
        guidance: Guidance,
        chunks: list[slice],
        share: Tensor | None = None,
    ) -> Tensor:
        masks = [None if mask is None else mask[:, chunk] for chunk in chunks]

        def refine(i: int) -> tuple[list[Tensor] | Divided, list[Tensor | None]]:
            return self._refine(cost[:, :, chunks[i]], masks[i], guidance)

        done = each(refine, len(chunks), cost.device)
        gates = self._gates([prototypes for _, prototypes in done])
        refined = [parts for parts, _ in done]
        del done
        shared = self.decoder.shared(guidance.decoder) if len(chunks) > 1 else None

        def decode(i: int) -> Tensor:
            parts, refined[i] = refined[i], []  # freed as soon as it is used
            own = [None if gate is None else gate[:, chunks[i]] for gate in gates]
            x = self.aggregation(self._update(parts, masks[i], own, share), guidance.aggregation)
            logits: Tensor = self.decoder(x, guidance.decoder, shared)
            return logits

        logits = each(decode, len(chunks), cost.device)
        return logits[0] if len(logits) == 1 else torch.cat(logits, dim=1)

    def _branches(self) -> tuple[Refinement, Refinement]:
        """Run HRM of the foreground and of the background."""
        return self.refinements[0], self.refinements[-1]  # type: ignore[return-value]

    def _refine(
        self, cost: Tensor, mask: Tensor | None, guidance: Guidance
    ) -> tuple[list[Tensor] | Divided, list[Tensor | None]]:
        """Return refined tokens, divided or as :meth:`Aggregation.merge` takes them, and P_c (B, N, D) by branch."""
        x = self.embedding(cost)
        front, back = self._branches()
        front_guided, back_guided = guidance.branches[0], guidance.branches[-1]
        if mask is None:
            x = front.pixels(x, None, front_guided)
            return [x], [front.prototypes(x, None)]
        if mask.dtype != torch.bool:
            weight = mask.unsqueeze(3)
            foreground = front.pixels(x * weight, None, front_guided)
            background = back.pixels(x * (1 - weight), None, back_guided)
            return [foreground, background], [front.prototypes(foreground, None), back.prototypes(background, None)]
        refined = self.pixels(x, mask, guidance)
        if isinstance(refined, Divided):
            foreground, background = refined.branches()
            return refined, [front.prototypes(foreground, None), back.prototypes(background, None)]
        return [refined], [front.prototypes(refined, mask), back.prototypes(refined, ~mask)]

    def pixels(self, x: Tensor, mask: Tensor, guidance: Guidance) -> Tensor | Divided:
        """Return M C'_f + (1 - M) C'_b of tokens (B, N, L, D): each place holds the token of its own branch."""
        front, back = self._branches()
        guided = guidance.branches[0], guidance.branches[-1]
        if front.swin is None or back.swin is None:
            return x
        if self.k is not None:
            return refine_branches(front.swin, back.swin, x, mask, self.k, *guided)
        foreground, background = front.pixels(x, mask, guided[0]), back.pixels(x, ~mask, guided[1])
        return torch.where(mask.unsqueeze(3), foreground, background)

    def published_forms(self) -> Mapping[str, Callable[..., int]]:
        """Return multiply-adds of :meth:`pixels` as two pairs of Swin blocks over all tokens, as Table 2 counts."""
        return {"pixels": _two_pairs}

    def _gates(self, pooled: list[list[Tensor | None]]) -> list[Tensor | None]:
        """Return gates (B, N, D) of each branch from the prototypes of all chunks of classes."""
        gates = []
        for branch, prototypes in zip(self._branches(), zip(*pooled, strict=True), strict=False):
            whole = None if prototypes[0] is None else torch.cat([p for p in prototypes if p is not None], dim=1)
            gates.append(branch.gate(whole))
        return gates

    def _update(
        self, parts: list[Tensor] | Divided, mask: Tensor | None, gates: list[Tensor | None], share: Tensor | None
    ) -> Tensor:
        """Compute Eqs. 3 and 4, then C~ (B, N, L, D)."""
        front, back = gates[0], gates[-1]
        if isinstance(parts, Divided):
            if front is not None and back is not None and share is None:
                parts, front = parts.times(front, back), None
            parts = [parts.joined()]
        if front is not None and back is not None:
            if len(parts) == 2:
                parts = [part * gate.unsqueeze(2) for part, gate in zip(parts, (front, back), strict=True)]
            elif mask is None:
                parts = [parts[0] * front.unsqueeze(2)]
            elif share is not None:
                weight = (mask + share - share.detach()).unsqueeze(3)  # the mask forwards, the share backwards
                parts = [parts[0] * torch.lerp(back.unsqueeze(2), front.unsqueeze(2), weight.to(back.dtype))]
            else:
                parts = [parts[0] * torch.where(mask.unsqueeze(3), front.unsqueeze(2), back.unsqueeze(2))]
        return self.aggregation.merge(parts, mask)
