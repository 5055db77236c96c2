"""Correlation of class queries with the fused map, and the guided decoder (LoGoSeg, Eqs. 11 and 12)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from repro.layers.cost_volume import CostEmbedding
from repro.layers.decoder import UpStage
from repro.layers.map_loops import decode_images, takes
from repro.layers.norms import LayerNorm
from repro.layers.points import to_points
from repro.layers.tokens import per_class


class Shared(NamedTuple):
    """What all classes of an image share: fused map (B, H, W, D) and each stage's share of guidance."""

    fused: Tensor
    guided: list[Tensor]


def correlate(queries: Tensor, fused: Tensor, channels: int) -> Tensor:
    """Return correlation (B, N, H, W, Cq) of queries (B, N, D) and a map (B, H, W, D).

    Channel c is the inner product of the c-th of ``channels`` equal groups of channels of query and map.
    """
    if channels == fused.shape[-1]:
        return queries[:, :, None, None] * fused.unsqueeze(1)
    grouped = (queries.unflatten(-1, (channels, -1)), fused.unflatten(-1, (channels, -1)))
    return torch.einsum("bncd,bhwcd->bnhwc", *grouped)


class QueryDecoder(nn.Module):
    """Correlation, stages that double the map with CLIP's guidance S_i (Eq. 11), and one logit per place (Eq. 12).

    Without gradients the classes are decoded in chunks, so that memory does not grow with the vocabulary.
    """

    def __init__(
        self, dim: int, channels: int, dims: Sequence[int], guidance_dims: Sequence[int], cosine_kernel: int = 0
    ) -> None:
        super().__init__()
        if dim % channels:
            raise ValueError(f"{channels} correlation channels must divide {dim} channels")
        self.channels = channels
        self.norm_queries = LayerNorm(dim)
        self.norm_fused = LayerNorm(dim)
        self.embedding = CostEmbedding(1, channels, cosine_kernel) if cosine_kernel else None
        widths = [channels, *dims]
        self.stages: Iterable[UpStage] = nn.ModuleList(  # type: ignore[assignment]
            UpStage(a, b, g) for a, b, g in zip(widths[:-1], widths[1:], guidance_dims, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def forward(self, queries: Tensor, fused: Tensor, cosine: Tensor, guidance: Sequence[Tensor]) -> Tensor:
        """Return logits (B, N, h, w) of queries (B, N, D), the map (B, H, W, D), scaled cosines (B, N, H, W) and
        projected guidance, smallest map first.
        """
        shared = Shared(
            self.norm_fused(fused), [stage.guide(g) for stage, g in zip(self.stages, guidance, strict=True)]
        )

        def of_image(index: int | None) -> Shared:
            if index is None:
                return shared
            return Shared(shared.fused[index : index + 1], [g[index : index + 1] for g in shared.guided])

        # Expanded, not copied: what counts for the size of a chunk is the correlation it becomes.
        places = fused.shape[1] * fused.shape[2]
        queries = self.norm_queries(queries).unsqueeze(2).expand(-1, -1, places, -1)
        return per_class(self._decode, queries, of_image, cosine)

    def correlation(self, queries: Tensor, fused: Tensor, cosine: Tensor) -> Tensor:
        """Return what stages see, (B, N, H, W, Cq): queries (B, N, D), map (B, H, W, D), cosines (B, N, H, W)."""
        return self._volume(self.norm_queries(queries), self.norm_fused(fused), cosine)

    def _volume(self, queries: Tensor, fused: Tensor, cosine: Tensor) -> Tensor:
        volume = correlate(queries, fused, self.channels)
        if self.embedding is None:
            return volume
        return volume + self.embedding(cosine.unsqueeze(1)).view_as(volume)

    def _decode(self, queries: Tensor, shared: Shared, cosine: Tensor) -> Tensor:
        volume = self._volume(queries[:, :, 0], shared.fused, cosine)
        (height, width), stages = volume.shape[2:4], list(self.stages)
        if height == width and takes(volume, height, stages):
            merged = [stage.merged() for stage in stages]
            return decode_images(volume.flatten(2, 3), height, stages, merged, shared.guided, self.head)
        # Channels last, as convolutions on a CPU prefer: a view.
        maps = volume.flatten(0, 1).permute(0, 3, 1, 2)
        for stage, share in zip(self.stages, shared.guided, strict=True):
            maps = stage(maps, share)
        logits = to_points(maps, self.head)
        return logits.view(*volume.shape[:2], *logits.shape[2:])
