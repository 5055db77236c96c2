"""Class aggregation of a cost volume: linear attention over the classes at every place (docs/specs/catseg.md)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.layers.compiling import LANES, affine, array, scales, serves
from repro.layers.norms import LayerNorm
from repro.layers.parallel import each, even_step
from repro.layers.tokens import GuidedProjection, Mlp, add_, chunk_step

EPSILON = 1e-6


class LinearClassAttention(nn.Module):
    """Linear attention with the feature map elu + 1 over the class axis, padded to ``pad_len`` slots.

    The padded slots hold one learned token with one learned guidance vector, the same at every place, so that their
    identical keys and values are counted instead of repeated: they add ``n`` times one outer product to the key-value
    sum and ``n`` times one key to the normaliser. Their own outputs are never used and not computed.

    With ``padding="masked"`` classes attend to classes only: the two learned vectors stay, frozen, so that weights of
    either kind load. Without slots (``pad_len`` 0) there are none. ``heads`` must divide ``dim`` (ValueError).
    """

    heads_mask: Tensor
    heads_sum: Tensor

    def __init__(
        self,
        dim: int,
        guidance_dim: int,
        heads: int,
        pad_len: int,
        ratio: float = 4.0,
        *,
        padding: Literal["attended", "masked"] = "attended",
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads must divide {dim} channels")
        self.pad_len = pad_len if padding == "attended" else 0
        if pad_len > 0:
            self.padding_tokens = nn.Parameter(torch.zeros(1, 1, dim), requires_grad=self.pad_len > 0)
            guided = self.pad_len > 0 and guidance_dim > 0
            self.padding_guidance = nn.Parameter(torch.zeros(1, 1, guidance_dim), requires_grad=guided)
        self.norm1 = LayerNorm(dim)
        self.attention = GuidedProjection(dim, guidance_dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, ratio, torch.relu_)
        head = torch.arange(dim) // (dim // heads)
        same = (head[:, None] == head[None, :]).float()
        self.register_buffer("heads_mask", same, persistent=False)
        self.register_buffer("heads_sum", same[:, :: dim // heads].contiguous(), persistent=False)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Map tokens (B, T, L, C) and text guidance (B or 1, T, G) to (B, T, L, C)."""
        offset = self.attention.offset(guidance).unsqueeze(1)
        padding = self._padding(x.shape[1])
        if torch.is_grad_enabled():
            return self._attend(x.transpose(1, 2), offset, padding).transpose(1, 2)
        if self._compiles(x):
            return self._compiled(x, offset, padding)
        result = torch.empty_like(x)
        step = chunk_step(x.shape[2], x.shape[1], x.shape[3], x.device)
        parts = [(i, slice(start, start + step)) for i in range(x.shape[0]) for start in range(0, x.shape[2], step)]

        def attend(index: int) -> None:
            image = slice(parts[index][0], parts[index][0] + 1)
            places = (image, slice(None), parts[index][1])
            own = offset[image] if offset.shape[0] > 1 else offset
            result[places] = self._attend(x[places].transpose(1, 2), own, padding).transpose(1, 2)

        each(attend, len(parts), x.device)
        return result

    def _compiles(self, x: Tensor) -> bool:
        width, hidden = x.shape[3] // self.heads_sum.shape[1], self.mlp.fc1.out_features
        return width % LANES == 0 and hidden % LANES == 0 and x.shape[1] > 0 and serves(x)

    def _compiled(self, x: Tensor, offset: Tensor, padding: tuple[int, Tensor | None, Tensor | None]) -> Tensor:
        """Run :meth:`forward` by compiled loops, the places in as many parts as there are threads."""
        from repro.layers.compiled_classes import Weights, attend_classes

        dim, heads = x.shape[3], self.heads_sum.shape[1]
        slots, values, keys = padding
        matrix, vector = (x.new_zeros(dim, dim), x.new_zeros(dim)) if values is None or keys is None else (values, keys)
        weights = Weights(
            norm1=array(scales(self.norm1)),
            qkv=array(self.attention.token_weight().t()),
            norm2=array(scales(self.norm2)),
            fc1=array(affine(self.mlp.fc1)),
            fc2=array(affine(self.mlp.fc2)),
            eps=self.norm1.eps,
        )
        x, result = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
        step = even_step(x.shape[2], x.shape[2], x.device)
        starts = [(i, start) for i in range(x.shape[0]) for start in range(0, x.shape[2], step)]

        fixed = weights, heads, slots, array(matrix), array(vector), EPSILON

        def attend(index: int) -> None:
            i, start = starts[index]
            own = array(offset[i if offset.shape[0] > 1 else 0, 0])
            attend_classes(array(x[i]), own, *fixed, start, result[i, :, start : start + step].numpy())

        each(attend, len(starts), x.device)
        return result

    def _padding(self, classes: int) -> tuple[int, Tensor | None, Tensor | None]:
        """Return the slots in all, and what the padded ones add to the key-value sum (C, C) and to the key sum (C)."""
        count = self.pad_len - classes
        if count <= 0:
            return classes, None, None
        qkv = self.attention(self.norm1(self.padding_tokens), self.attention.offset(self.padding_guidance))
        _, k, v = qkv.flatten().chunk(3)
        k = F.elu(k) + 1
        return self.pad_len, count * torch.outer(k, v), count * k

    def _attend(self, x: Tensor, offset: Tensor, padding: tuple[int, Tensor | None, Tensor | None]) -> Tensor:
        """Map tokens (B, L, T, C) to (B, L, T, C)."""
        x = x.contiguous()
        slots, kv_padding, k_padding = padding
        qkv = self.attention(self.norm1(x), offset)
        v = qkv[..., 2 * self.attention.dim :]
        q, k = F.elu(qkv[..., : 2 * self.attention.dim]).add_(1).chunk(2, dim=-1)
        # All heads in one product; what couples different heads is zeroed. The values are divided by the number of
        # slots against overflow in half precision, and the result multiplied by it.
        kv = k.transpose(-1, -2) @ v
        k_sum = k.sum(dim=-2, keepdim=True)
        if kv_padding is not None and k_padding is not None:
            kv, k_sum = kv + kv_padding, k_sum + k_padding
        # The normaliser of each head is a product of the queries too: columns beside those of the values.
        both = torch.cat([kv * (self.heads_mask / slots), k_sum.transpose(-1, -2) * self.heads_sum], dim=-1)
        mixed, norm = (q @ both).split([kv.shape[-1], self.heads_sum.shape[-1]], dim=-1)
        norm = slots / (norm + EPSILON)
        heads = (norm.shape[-1], -1)
        x = torch.addcmul(x.unflatten(-1, heads), mixed.unflatten(-1, heads), norm.unsqueeze(-1)).flatten(-2)
        return add_(self.mlp(self.norm2(x)), x)


class ClassAggregation(nn.Module):
    """Class attention on a pooled cost volume, brought back to full size and added to the input.

    ``pooling`` (average, saves time) acts in training, ``test_pooling`` in evaluation; rows and columns that do not
    fill a cell are left out, as in the released code. The way back is bilinear with ``align_corners`` as given. The
    pooled path already holds its own residual: with ``residual="double"``, as released, the input therefore counts
    twice; with ``"single"`` only what attention and MLP changed. ValueError for a pooling larger than the map.
    """

    def __init__(
        self,
        dim: int,
        guidance_dim: int,
        heads: int,
        pad_len: int,
        grid: int,
        pooling: tuple[int, int],
        ratio: float = 4.0,
        *,
        test_pooling: tuple[int, int] = (1, 1),
        align_corners: bool = True,
        residual: Literal["double", "single"] = "double",
        padding: Literal["attended", "masked"] = "attended",
    ) -> None:
        super().__init__()
        for cell in (*pooling, *test_pooling):
            if not 1 <= cell <= grid:
                raise ValueError(f"a pooling of {cell} does not fit a map of {grid}")
        self.grid, self.pooling, self.test_pooling = grid, pooling, test_pooling
        self.align_corners, self.residual = align_corners, residual
        self.attention = LinearClassAttention(dim, guidance_dim, heads, pad_len, ratio, padding=padding)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Map tokens (B, T, L, C) in raster order and text guidance (B or 1, T, G) to (B, T, L, C)."""
        pooling = self.pooling if self.training else self.test_pooling
        if pooling == (1, 1):
            y = self.attention(x, guidance)
            if self.residual == "single":
                return y
            return x + y if torch.is_grad_enabled() else add_(y, x)
        b, t, _, c = x.shape
        maps = x.reshape(b * t, self.grid, self.grid, c).permute(0, 3, 1, 2)
        maps = F.avg_pool2d(maps, pooling)
        h, w = maps.shape[-2:]
        pooled = maps.permute(0, 2, 3, 1).reshape(b, t, h * w, c)
        y = self.attention(pooled, guidance)
        if self.residual == "single":
            y = y - pooled
        y = y.reshape(b * t, h, w, c).permute(0, 3, 1, 2)
        y = F.interpolate(y, size=(self.grid, self.grid), mode="bilinear", align_corners=self.align_corners)
        return x + y.permute(0, 2, 3, 1).reshape(x.shape)
