"""Spatial aggregation of a cost volume: two guided Swin blocks, class by class (docs/specs/catseg.md, Aggregator)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.layers.norms import LayerNorm
from repro.layers.small_attention import FEW, small_attention
from repro.layers.token_lists import Block, Lists, compiled, lists_of, run_lists
from repro.layers.tokens import GuidedProjection, Mlp, add_, per_class, permute_tokens

MASKED = -100.0
"""Added to attention between places that only the cyclic shift made neighbours (official value; not -inf)."""

LEFT_OUT = -1e4
"""Added to attention to a key that takes no part. Its weight is exactly 0 beside any key that does, and a window
without such a key gives numbers (of no meaning), not NaN."""


def window_order(grid: int, window: int, shift: int) -> Tensor:
    """Return raster indices (grid * grid) of places, window after window, of a map rolled by ``-shift`` both ways."""
    raster = torch.arange(grid * grid).view(grid, grid).roll((-shift, -shift), (0, 1))
    count = grid // window
    return raster.view(count, window, count, window).transpose(1, 2).flatten()


def shift_mask(grid: int, window: int, shift: int, masked: float = MASKED) -> Tensor:
    """Return what is added to the attention within each shifted window: (windows, window ** 2, window ** 2).

    0 between places that are neighbours on the map, ``masked`` between the others.
    """
    region = shift_regions(grid, window, shift)
    return torch.where(region[:, :, None] == region[:, None, :], 0.0, masked)


def shift_regions(grid: int, window: int, shift: int) -> Tensor:
    """Return numbers from 0 to 8 (windows, window ** 2), equal in a shifted window for neighbours on the map."""
    edges = torch.zeros(grid, dtype=torch.long)
    edges[grid - window : grid - shift] = 1
    edges[grid - shift :] = 2
    region = edges[:, None] * 3 + edges[None, :]
    count = grid // window
    return region.view(count, window, count, window).transpose(1, 2).reshape(count * count, -1)


class GuidedWindowBlock(nn.Module):
    """One Swin block whose queries and keys also see appearance guidance; tokens stay in window order throughout.

    x + proj(attention(LN(x))), then x + MLP(LN(x)); no relative position bias.
    """

    order: Tensor
    mask: Tensor | None
    place: Tensor
    """Where each raster place is in ``order`` (L)."""
    region: Tensor
    """Number of each raster place's window and, where that is shifted, its neighbours in there (L): see ``regions``."""

    def __init__(
        self,
        dim: int,
        guidance_dim: int,
        heads: int,
        grid: int,
        window: int,
        shift: int,
        ratio: float,
        masked: float = MASKED,
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm1 = LayerNorm(dim)
        self.attn = GuidedProjection(dim, guidance_dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, ratio, F.gelu)
        order = window_order(grid, window, shift)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("mask", shift_mask(grid, window, shift, masked) if shift else None, persistent=False)
        place = order.argsort()
        own = shift_regions(grid, window, shift) if shift else torch.zeros(place.shape, dtype=torch.long)
        self.regions = 9 * (grid // window) ** 2
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("region", own.flatten()[place] + 9 * (place // window**2), persistent=False)
        self.leak = masked if shift and math.isfinite(masked) else None
        self._made: tuple[tuple[int, int], Tensor, Lists] | None = None

    def forward(self, x: Tensor, offset: Tensor, keep: Tensor | None = None, *, raster: bool = False) -> Tensor:
        """Map tokens (B, T, L, C) in this block's order and ``offset`` (B, 1, L, 3 C) of the guidance to (B, T, L, C).

        ``keep`` (B, T, L), in raster order, is True at the tokens that take part as keys (None: all). With ``raster``
        the tokens, not ``offset``, come and go in raster order and all are keys: for what is :meth:`compiled`.
        """
        if raster:
            return self._in_raster(x, offset)
        bias = None if keep is None else self._bias(self._windows(keep).unsqueeze(2))  # the same for all queries
        return self.finish(x, self.attend(self.attn(self.norm1(x), offset), bias))

    def _in_raster(self, x: Tensor, offset: Tensor) -> Tensor:
        rows, (place, lists) = x.reshape(-1, x.shape[3]), self._lists(x.shape[0], x.shape[1])
        out = run_lists(rows, offset.flatten(0, 2), place, [(lists, self.block())], self.leak)
        if out is not None:
            return out.view(x.shape)
        return self(x[:, :, self.order], offset)[:, :, self.place]

    def block(self) -> Block:
        """Return the parts as :func:`run_lists` takes them."""
        return Block(self.norm1, self.attn.token_weight(), self.proj, self.norm2, self.mlp, self.heads)

    def compiled(self, x: Tensor) -> bool:
        """Tell whether tokens like ``x`` may come in raster order."""
        return compiled(x, self.attn.dim // self.heads, self.mlp.fc1.out_features)

    def _lists(self, images: int, classes: int) -> tuple[Tensor, Lists]:
        """Return the row of the guidance of each token (R), and which tokens attend to one another."""
        made = self._made
        if made is None or made[0] != (images, classes):  # the same in every step, and in all chunks but the last
            row = len(self.place) * torch.arange(images).view(-1, 1, 1) + self.place
            first = self.regions * torch.arange(images * classes)
            lists = lists_of((first.unsqueeze(1) + self.region).flatten(), images * classes * self.regions)
            made = self._made = (images, classes), row.expand(-1, classes, -1).flatten(), lists
        return made[1], made[2]

    def apart(self, mask: Tensor) -> Tensor:
        """Return a bias for :meth:`attend` that keeps tokens of other values in ``mask`` (B, T, L), raster, apart."""
        own = self._windows(mask)
        return self._bias(own.unsqueeze(2) == own.unsqueeze(3))

    def _windows(self, mask: Tensor) -> Tensor:
        """Map (B, T, L) in raster order to (B T, windows, window ** 2)."""
        return mask[:, :, self.order].view(-1, self.order.numel() // self.window**2, self.window**2)

    @staticmethod
    def _bias(seen: Tensor) -> Tensor:
        """Map (B T, windows, queries or 1, keys) to the same with an axis of heads."""
        return torch.where(seen, 0.0, LEFT_OUT).unsqueeze(2)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Run what follows the attention: projection and residual, then the MLP; all (..., C)."""
        x = add_(self.proj(mixed), x)
        return add_(self.mlp(self.norm2(x)), x)

    def attend(self, qkv: Tensor, bias: Tensor | None) -> Tensor:
        """Compute attention within windows of q, k, v (B, T, L, 3 C), in this block's order, as (B, T, L, C).

        ``bias`` (B T, windows, 1, queries or 1, keys) is added to the attention of all heads.
        """
        size = self.window * self.window
        shape = qkv.shape[:-1]
        if size <= FEW and qkv.requires_grad and qkv.is_cpu and not torch.is_autocast_enabled("cpu"):
            mask = None if self.mask is None else self.mask.unsqueeze(1)
            by_window = qkv.view(shape[0] * shape[1], -1, size, qkv.shape[-1])
            both = mask if bias is None else bias if mask is None else bias + mask
            return small_attention(by_window, both, self.heads).view(*shape, self.attn.dim)
        # (B, T, L, 3 C) -> q, k, v of (B T, windows, heads, window ** 2, C / heads), all views. Cut first: gradients
        # then come together in one copy instead of two.
        q, k, v = (
            part.view(shape[0] * shape[1], -1, size, self.heads, self.attn.dim // self.heads).transpose(2, 3)
            for part in qkv.split(self.attn.dim, dim=-1)
        )
        if self.mask is None:
            q, k, v = (t.flatten(0, 1) for t in (q, k, v))
            own = None if bias is None else bias.flatten(0, 1).to(q.dtype)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=own).transpose(1, 2)
        else:
            # unbind, not indexing: its backward stacks once instead of filling a zero tensor for every window
            biases = self.mask.to(q.dtype).unbind()
            if bias is not None:
                biases = tuple(a + b for a, b in zip(biases, bias.to(q.dtype).unbind(1), strict=True))
            each = zip(q.unbind(1), k.unbind(1), v.unbind(1), biases, strict=True)
            parts = [F.scaled_dot_product_attention(a, b, c, attn_mask=own) for a, b, c, own in each]
            mixed = torch.stack([part.transpose(1, 2) for part in parts], dim=1)
        return mixed.reshape(*shape, self.attn.dim)


class GuidedSwinPair(nn.Module):
    """A block with plain windows, then one with windows shifted by half, over every class map alike.

    The guidance goes through one LayerNorm, the same for all classes. Where the map is no larger than a window there
    is one window and no shift. ``masked`` is added to the attention between places that only the shift made
    neighbours: the released -100, or -inf. Raises ValueError where windows do not tile the map.
    """

    into: Tensor
    into_back: Tensor
    across: Tensor
    across_back: Tensor
    out: Tensor
    out_back: Tensor

    def __init__(
        self,
        dim: int,
        guidance_dim: int,
        heads: int,
        grid: int,
        window: int,
        ratio: float = 4.0,
        masked: float = MASKED,
    ) -> None:
        super().__init__()
        window = min(window, grid)
        if grid % window or dim % heads:
            raise ValueError(f"windows of {window} must tile a map of {grid}, {heads} heads must divide {dim} channels")
        shift = window // 2 if window < grid else 0
        self.block_1 = GuidedWindowBlock(dim, guidance_dim, heads, grid, window, 0, ratio)
        self.block_2 = GuidedWindowBlock(dim, guidance_dim, heads, grid, window, shift, ratio, masked)
        self.guidance_norm = LayerNorm(guidance_dim)
        self.one_order = window == grid
        first, second = self.block_1.order, self.block_2.order
        # Orders of places: raster to the first block's windows, from there to the second's, and back to raster.
        for name, order in (("into", first), ("across", first.argsort()[second]), ("out", second.argsort())):
            self.register_buffer(name, order, persistent=False)
            self.register_buffer(f"{name}_back", order.argsort(), persistent=False)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Map tokens (B, T, L, C) and guidance (B, L, G), both in raster order, to (B, T, L, C) in raster order."""
        offsets = self.guide(guidance)
        return per_class(self.run, x, lambda i: offsets if i is None else [o[i : i + 1] for o in offsets])

    def guide(self, guidance: Tensor) -> list[Tensor]:
        """Return what guidance (B, L, G) adds to q, k, v of each block for all classes: (B, 1, L, 3 C)."""
        guidance = self.guidance_norm(guidance)
        return [block.attn.offset(guidance[:, block.order]).unsqueeze(1) for block in (self.block_1, self.block_2)]

    def run(self, x: Tensor, offsets: Sequence[Tensor], keep: Tensor | None = None) -> Tensor:
        """Map tokens (B, T, L, C) and ``offsets`` of :meth:`guide` to (B, T, L, C), in raster order, in one go.

        ``keep`` (B, T, L) is True at the tokens that take part as keys (None: all); what comes out at the others
        depends on windows they are not members of and has no meaning.
        """
        if keep is None and self.block_1.compiled(x):
            for block, offset in zip((self.block_1, self.block_2), offsets, strict=True):
                x = block(x, offset, raster=True)
            return x
        if self.one_order:
            return self.block_2(self.block_1(x, offsets[0], keep), offsets[1], keep)
        x = self.block_1(permute_tokens(x, self.into, self.into_back), offsets[0], keep)
        x = self.block_2(permute_tokens(x, self.across, self.across_back), offsets[1], keep)
        return permute_tokens(x, self.out, self.out_back)
