"""LoGoSeg as a method of the harness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.logoseg.alignment import ObjectPrior, RegionalAlignment
from baselines.logoseg.decoder import QueryDecoder
from baselines.logoseg.fusion import Fusion
from baselines.logoseg.loss import masked_bce
from baselines.logoseg.options import LoGoSegOptions
from repro.clip.tower import ClipTower
from repro.layers.blocks import block_at, equal_parts
from repro.layers.cost_volume import cosine_cost
from repro.layers.groups import optimizer_groups
from repro.layers.norms import LayerNorm
from repro.layers.ss2d import SS2D
from repro.methods.interface import Method

TRAINED_CLIP = {
    "image": ("",),
    "qv": ("q_proj_weight", "v_proj_weight", "q_proj.weight", "v_proj.weight"),
    "nothing": (),
}
"""How the names of the image tower's parameters end that train, by ``clip_trains``."""


class Fused(NamedTuple):
    """What the decoder reads."""

    queries: Tensor
    """One a class (B, N, D)."""
    fused: Tensor
    """Map of local and global features (B, H, W, D)."""
    cosine: Tensor
    """Cosines of places and classes times the root of the width (B, N, H, W)."""
    guides: tuple[Tensor, ...]
    """The tower's maps that guide the decoder."""


class LoGoSeg(Method):
    """Class queries read a map that fuses local and global features, guided by regions and classes (AAAI 2026).

    The number of queries is the number of classes: each is one learned vector plus the class's projected text centre.
    Trains its own modules and the image tower of CLIP; the text tower is frozen.
    """

    activation = "sigmoid"

    def __init__(self, clip: ClipTower, options: LoGoSegOptions | None = None) -> None:
        super().__init__()
        o = options or LoGoSegOptions()
        self.options = o
        self.clip = clip
        self._scale = clip.embed_dim**0.5 if o.text_scale == "sqrt" else 1.0
        stages = len(o.decoder_dims)
        middle_block, guide_blocks = default_blocks(clip, stages)
        self.middle_block = middle_block if o.middle_block is None else o.middle_block
        self.guide_blocks = o.guide_blocks or guide_blocks
        clip.train_only(TRAINED_CLIP[o.clip_trains], within="model.visual.")
        self.prior = ObjectPrior(o)
        self.alignment = RegionalAlignment(o, clip.embed_dim, clip.grid) if o.regional_alignment else None
        self.guidance = None if o.regional_alignment else nn.Linear(clip.embed_dim, o.hidden)
        self.middle = nn.Sequential(nn.Linear(clip.guide_channels(self.middle_block), o.hidden), LayerNorm(o.hidden))
        self.text = nn.Linear(clip.embed_dim, o.hidden)
        self.query = nn.Parameter(0.02 * torch.randn(o.hidden))
        self.fusion = Fusion(o)
        self.upsample = nn.ModuleList(
            GuideUpsample(clip, block, dim, clip.grid * 2 ** (stage + 1))
            for stage, (block, dim) in enumerate(zip(self.guide_blocks, o.decoder_guidance, strict=True))
        )
        self.decoder_guidance = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(o.decoder_guidance, o.decoder_guidance_proj, strict=True)
        )
        kernel = o.cosine_kernel if o.cosine else 0
        self.decoder = QueryDecoder(o.hidden, o.correlation, o.decoder_dims, o.decoder_guidance_proj, kernel)

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return logits (B, N, 4 grid, 4 grid) with two decoder stages."""
        seen = self._fuse(images, classes)
        guidance = [
            F.relu(project(up(guide)))
            for project, up, guide in zip(self.decoder_guidance, self.upsample, seen.guides, strict=True)
        ]
        return self.decoder(seen.queries, seen.fused, seen.cosine, guidance)

    def _fuse(self, images: Tensor, classes: Sequence[str]) -> Fused:
        if not classes:
            raise ValueError("no classes to segment")
        text = torch.stack([self.clip.text(classes, template) for template in self.options.templates], dim=1)
        features = self.clip.dense(images, (self.middle_block, *self.guide_blocks))
        weights, centres = self.prior(features.map, text)
        if self.alignment is not None:
            scale = self.clip.logit_scale.detach()
            tau, beta = (scale if t is None else t for t in (self.options.tau, self.options.beta))
            guidance = self.alignment(features.map, text, weights, self._scale * centres, tau, beta).permute(0, 2, 3, 1)
        else:
            guidance = self.guidance(features.map.permute(0, 2, 3, 1))  # type: ignore[misc]
        pooled = text.mean(dim=1)
        read = pooled.expand_as(centres) if self.options.query_text == "pooled" else centres
        text_tokens = self.text(self._scale * read)
        middle = features.guides[0]
        if middle.shape[-1] != self.clip.grid:
            middle = F.adaptive_avg_pool2d(middle, self.clip.grid)
        middle = self.middle(middle.permute(0, 2, 3, 1))
        fused, queries = self.fusion(middle, guidance, self.query + text_tokens, text_tokens)
        # Of the scale of the products it is added to: cosines of random directions have a deviation of 1 / sqrt(C).
        cosine = cosine_cost(features.map, F.normalize(pooled, dim=-1)[None, :, None]).squeeze(1)
        return Fused(queries, fused, cosine * self.clip.embed_dim**0.5, features.guides[1:])

    def texts(self, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Put the name in every template."""
        return [tuple(t.replace("{}", name) for t in self.options.templates) for name in classes]

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``loss_bce``: Eq. 13."""
        return {"loss_bce": masked_bce(self(images, classes), labels)}

    def loss_over(self, name: str) -> Literal["images", "pixels"]:
        """Choose labelled pixels (Eq. 13)."""
        del name
        return "pixels"

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Put new modules at ``lr``, the image tower at ``lr`` times ``clip_lr_factor``.

        No weight decay on norm layers, on a learned lambda and on SS2D's time constants.
        """
        undecayed = [p for m in self.modules() if isinstance(m, SS2D) for p in m.undecayed()]
        undecayed += self.prior.parameters()
        return optimizer_groups(self, lr, weight_decay, self.options.clip_lr_factor, undecayed)

    def stages(self) -> Mapping[str, Sequence[tuple[nn.Module, str]]]:
        """Name the stages: ``aggregation`` is all between the towers and the decoder: prior, alignment, fusion."""
        return {"aggregation": [(self, "_fuse")], "decoder": [(self.decoder, "forward")]}

    @torch.no_grad()
    def class_queries(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return the queries the fused map is correlated with."""
        return self._fuse(images, classes).queries

    @torch.no_grad()
    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``correlation`` (B, N, grid, grid): what the decoder sees, averaged over its channels."""
        seen = self._fuse(images, classes)
        return {"correlation": self.decoder.correlation(seen.queries, seen.fused, seen.cosine).mean(dim=-1)}


def default_blocks(clip: ClipTower, stages: int) -> tuple[int, tuple[int, ...]]:
    """Return the block that gives F_mid and those that guide ``stages`` decoder stages.

    In a transformer the middle and equal parts of the tower, as CAT-Seg: 5 and 3, 7 of 12. In a tower whose map shrinks
    from stage to stage, the one before the last and, for each decoder stage, the last one no coarser than its output.
    """
    grids = [clip.guide_grid(index) for index in range(clip.depth)]
    if len(set(grids)) == 1:
        return block_at(clip.depth, 1, 2), equal_parts(clip.depth, stages)
    fine = [[i for i, grid in enumerate(grids) if grid >= clip.grid * 2**stage] for stage in range(1, stages + 1)]
    return max(0, clip.depth - 2), tuple(max(blocks, default=0) for blocks in fine)


class GuideUpsample(nn.Module):
    """A tower's map at the size of a decoder stage: a transposed convolution where that is a multiple of its own.

    Maps of another size are resized, bilinearly, before a 1x1 convolution.
    """

    def __init__(self, clip: ClipTower, block: int, dim: int, size: int) -> None:
        super().__init__()
        self.size = size
        factor, rest = divmod(size, clip.guide_grid(block))
        self.resize = bool(rest or not factor)
        stride = 1 if self.resize else factor
        self.up = nn.ConvTranspose2d(clip.guide_channels(block), dim, stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, dim, size, size)."""
        if self.resize:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False, antialias=True)
        return self.up(x)
