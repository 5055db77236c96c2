"""Self-attention with the query, key and value projections as parameters of their own.

CAT-Seg trains the query and value weights of CLIP and nothing else (docs/specs/catseg.md), which open_clip's joint
``in_proj_weight`` does not allow. The names are those of ``torch.nn.MultiheadAttention`` with separate weights and of
the official CAT-Seg checkpoints; ``in_proj_bias`` stays joint there and here. timm's EVA needs no splitting: its
projections are modules (``q_proj.weight``, see repro.clip.eva).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SplitAttention(nn.Module):
    """Multi-head self-attention over (B, L, C), a drop-in for the ``nn.MultiheadAttention`` of an open_clip block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj_weight = nn.Parameter(torch.empty(width, width))
        self.k_proj_weight = nn.Parameter(torch.empty(width, width))
        self.v_proj_weight = nn.Parameter(torch.empty(width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    @classmethod
    def from_joint(cls, joint: nn.MultiheadAttention) -> SplitAttention:
        """Return the same attention with the same weights, split."""
        split = cls(joint.embed_dim, joint.num_heads)
        with torch.no_grad():
            q, k, v = joint.in_proj_weight.chunk(3)
            split.q_proj_weight.copy_(q)
            split.k_proj_weight.copy_(k)
            split.v_proj_weight.copy_(v)
            split.in_proj_bias.copy_(joint.in_proj_bias)
        split.out_proj = joint.out_proj
        return split

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Compute attention of ``query`` (B, L, C) to itself; the other arguments are those open_clip passes."""
        weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        q, k, v = (
            F.linear(query, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for w, b in zip(weights, self.in_proj_bias.chunk(3), strict=True)
        )
        if attn_mask is not None:
            attn_mask = attn_mask.to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), None

    def value_path(self, x: Tensor) -> Tensor:
        """Return value and output projection of every token of (B, L, C), without attention."""
        return self.out_proj(F.linear(x, self.v_proj_weight, self.in_proj_bias.chunk(3)[2]))


def split_attention_(transformer: Any) -> None:
    """Replace the joint attention of every block of an open_clip transformer, keeping the weights."""
    for block in transformer.resblocks:
        block.attn = SplitAttention.from_joint(block.attn)


def join_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``state`` with the split projections of every attention joined again, under open_clip's names."""
    joined: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith("attn.q_proj_weight"):
            stem = name.removesuffix("q_proj_weight")
            parts = [state[f"{stem}{kind}_proj_weight"] for kind in "qkv"]
            joined[f"{stem}in_proj_weight"] = torch.cat(parts)
        elif not name.endswith(("attn.k_proj_weight", "attn.v_proj_weight")):
            joined[name] = tensor
    return joined
