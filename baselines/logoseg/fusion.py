"""Contextual cross-modal fusion (LoGoSeg, Eqs. 8 to 10).

Maps are (B, H, W, D), channels last; queries (B, N, D), one per class.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.logoseg.options import LoGoSegOptions
from repro.layers.norms import LayerNorm
from repro.layers.ss2d import SS2D
from repro.layers.tokens import Mlp

EPSILON = 1e-6


class RowAttention(nn.Module):
    """x + attention(LayerNorm(x)) within each row of a map (B, H, W, C)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H, W, C)."""
        # (B, H, W, 3 C) -> q, k, v of (B, H, heads, W, C / heads)
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj(mixed.transpose(2, 3).flatten(-2))


class DirectionalAttention(nn.Module):
    """Eq. 8: X_local = [rows of (F_h || G_h) || columns of (F_v || G_v)], the halves of the channels of F_mid and G."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.horizontal = RowAttention(dim, heads)
        self.vertical = RowAttention(dim, heads)

    def forward(self, middle: Tensor, guidance: Tensor) -> Tensor:
        """Map two maps (B, H, W, D) to (B, H, W, 2 D)."""
        rows, columns = halves(middle, guidance)
        return torch.cat([self.horizontal(rows), self.vertical(columns.transpose(1, 2)).transpose(1, 2)], dim=-1)


def halves(middle: Tensor, guidance: Tensor) -> tuple[Tensor, Tensor]:
    """Return (F_h || G_h) and (F_v || G_v), both (B, H, W, D), of two maps (B, H, W, D)."""
    (f_h, f_v), (g_h, g_v) = middle.chunk(2, dim=-1), guidance.chunk(2, dim=-1)
    return torch.cat([f_h, g_h], dim=-1), torch.cat([f_v, g_v], dim=-1)


class ChannelAdapter(nn.Module):
    """1x1 convolution, depth-wise convolution, gated linear unit, 1x1 projection; residuals around both halves."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.norm1 = LayerNorm(dim)
        self.expand = nn.Linear(dim, 2 * hidden)
        self.norm2 = LayerNorm(2 * hidden)
        self.depthwise = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.project = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, D) to (B, H, W, D)."""
        y = self.expand(self.norm1(x))
        y = y + self.depthwise(self.norm2(y).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.project(F.glu(y, dim=-1))


class LanguageQueries(nn.Module):
    """Eq. 10: queries read map and text by linear attention, one gate per token mixes it in, then an MLP."""

    def __init__(self, dim: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_queries = LayerNorm(dim)
        self.norm_memory = LayerNorm(dim)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.gate = nn.Linear(2 * dim, 1)
        self.norm_mlp = LayerNorm(dim)
        self.mlp = Mlp(dim, ratio, F.gelu)

    def read(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Compute phi(q) (phi(K)^T V) / (phi(q) sum phi(K)) (phi = elu + 1) by head: (B, N, D) from (B, M, D)."""
        q = F.elu(self.q(queries)).unflatten(-1, (self.heads, -1)).transpose(1, 2) + 1
        k, v = self.kv(memory).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        k = F.elu(k) + 1
        # Both sums over the memory as means, against overflow in half precision: their ratio is the same.
        mixed = q @ (k.transpose(-1, -2) @ (v / v.shape[2]))
        norm = q @ k.mean(dim=2).unsqueeze(-1)
        return (mixed / (norm + EPSILON)).transpose(1, 2).flatten(2)

    def forward(self, queries: Tensor, fused: Tensor, text: Tensor) -> Tensor:
        """Map queries (B, N, D) over key and value [fused map (B, H, W, D) || text (B, N, D)] to (B, N, D)."""
        memory = self.norm_memory(torch.cat([fused.flatten(1, 2), text], dim=1))
        found = self.read(self.norm_queries(queries), memory)
        gate = self.gate(torch.cat([queries, found], dim=-1)).sigmoid()
        queries = torch.lerp(queries, found.to(queries.dtype), gate.to(queries.dtype))
        return queries + self.mlp(self.norm_mlp(queries))


class FusionBlock(nn.Module):
    """Local and global stream of a map, their fusion (Eq. 9), the channel adapter and the queries."""

    def __init__(self, options: LoGoSegOptions) -> None:
        super().__init__()
        o = options
        self.local = DirectionalAttention(o.hidden, o.heads) if o.directional_attention else None
        self.whole = SS2D(o.hidden) if o.global_context else None
        self.fuse = nn.Linear((3 if o.global_context else 2) * o.hidden, o.hidden)
        self.adapter = ChannelAdapter(o.hidden, o.adapter_ratio)
        self.queries = LanguageQueries(o.hidden, o.heads, o.mlp_ratio)

    def merge(self, middle: Tensor, guidance: Tensor) -> Tensor:
        """Compute Eq. 9: X_fused (B, H, W, D), a 1x1 convolution of [X_local || SS2D(G)], from F_mid and G."""
        local = self.local(middle, guidance) if self.local is not None else torch.cat(halves(middle, guidance), dim=-1)
        streams = [local] if self.whole is None else [local, self.whole(guidance)]
        return self.fuse(torch.cat(streams, dim=-1))

    def forward(self, middle: Tensor, guidance: Tensor, queries: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Map F_mid and G (B, H, W, D), queries and text (B, N, D) to fused map (B, H, W, D) and queries (B, N, D)."""
        fused = self.adapter(self.merge(middle, guidance))
        return fused, self.queries(queries, fused, text)


class Fusion(nn.Module):
    """``depth`` fusion blocks; from the second on, the fused map takes the place of the guidance.

    With depth 0 the map is a 1x1 convolution of [F_mid || G] and the queries stay as they are.
    """

    def __init__(self, options: LoGoSegOptions) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FusionBlock(options) for _ in range(options.depth))
        self.plain = None if options.depth else nn.Linear(2 * options.hidden, options.hidden)

    def forward(self, middle: Tensor, guidance: Tensor, queries: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse as FusionBlock does."""
        if self.plain is not None:
            return self.plain(torch.cat([middle, guidance], dim=-1)), queries
        for block in self.blocks:
            guidance, queries = block(middle, guidance, queries, text)
        return guidance, queries
