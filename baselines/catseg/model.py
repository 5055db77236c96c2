"""CAT-Seg as a method of the harness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.catseg.aggregator import Aggregator
from baselines.catseg.options import CatSegOptions
from repro.clip.tower import ClipTower
from repro.errors import UsageError
from repro.layers.blocks import equal_parts
from repro.layers.cost_volume import cosine_cost
from repro.layers.groups import optimizer_groups
from repro.layers.losses import per_class_bce, softmax_ce
from repro.layers.mccl import auxiliary_mccl
from repro.methods.interface import Method

TRAINED_CLIP = ("q_proj_weight", "v_proj_weight")


class CatSeg(Method):
    """Aggregates the cosine cost volume between CLIP's places and class names (Cho et al., CVPR 2024).

    Trains its own modules and, of both CLIP towers, the query and value projection weights. Raises UsageError where
    the options do not fit the tower (windows or pooling that do not tile its map, heads that do not divide a width).
    """

    def __init__(self, clip: ClipTower, options: CatSegOptions | None = None) -> None:
        super().__init__()
        o = options or CatSegOptions()
        self.options = o
        self.activation = "softmax" if o.seg_loss == "ce" else "sigmoid"
        self.clip = clip
        self.guide_blocks = o.guide_blocks or equal_parts(clip.depth, len(o.decoder_dims))
        clip.train_only(TRAINED_CLIP if o.clip_trains == "qv" else ())
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(clip.width, dim, 2**stage, 2**stage)
            for stage, dim in enumerate(o.decoder_guidance, start=1)
        )
        try:
            self.aggregator = Aggregator(o, clip.embed_dim, clip.grid)
        except ValueError as error:
            raise UsageError(
                f"the options of catseg do not fit this CLIP tower: {error}",
                expected=f"sizes that fit a {clip.grid}x{clip.grid} map",
                mend="change the method's options in the profile",
            ) from error

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return logits (B, N, 4 grid, 4 grid) with the two stages of the released decoder."""
        return self._run(images, classes)[0]

    def _run(self, images: Tensor, classes: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, dense features (B, C, H, W) and text features (N, P, C)."""
        if not classes:
            raise ValueError("no classes to segment")
        features = self.clip.dense(self._pad(images), self.guide_blocks)
        guides = [up(g) for up, g in zip(self.upsample, features.guides, strict=True)]
        text = self._text(classes)
        return self.aggregator(features.map, text, guides), features.map, text

    def stages(self) -> Mapping[str, Sequence[tuple[nn.Module, str]]]:
        """Name cost aggregation, and the decoder in it."""
        return {"aggregation": [(self.aggregator, "forward")], "decoder": [(self.aggregator.decoder, "forward")]}

    @torch.no_grad()
    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``correlation``: the cosine the cost volume starts from, mean over prompts."""
        features = self.clip.dense(self._pad(images))
        return {"correlation": cosine_cost(features.map, self._text(classes)[None]).mean(dim=1)}

    def _pad(self, images: Tensor) -> Tensor:
        """Pad images (B, 3, H, W) right and below, with what becomes 0 when the tower subtracts its mean."""
        height, width = images.shape[-2:]
        step = self.options.size_divisibility
        right, below = -width % step, -height % step
        if not right and not below:
            return images
        mean = self.clip.mean.to(images.dtype)
        padded = mean.expand(images.shape[0], -1, height + below, width + right).clone()
        padded[..., :height, :width] = images
        return padded

    def _text(self, classes: Sequence[str]) -> Tensor:
        """Return L2-normalised text features (N, P, C) of class names; synonyms in a name are separated by ``", "``."""
        synonyms = self._synonyms(classes)
        words = [word for names in synonyms for word in names]
        text = torch.stack([self.clip.text(words, template) for template in self.options.templates], dim=1)
        if len(words) == len(classes):
            return text
        parts = text.split([len(names) for names in synonyms])
        return F.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=-1)

    def _synonyms(self, classes: Sequence[str]) -> list[list[str]]:
        """Return the words of each class that are prompted."""
        synonyms = [name.split(", ") for name in classes]
        return [names[:1] for names in synonyms] if self.options.synonyms == "first" else synonyms

    def texts(self, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Put every synonym, or the first alone, in every template."""
        templates = self.options.templates
        return [tuple(t.replace("{}", w) for w in words for t in templates) for words in self._synonyms(classes)]

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``loss_bce``: mean binary cross-entropy over all pixels and classes, or ``loss_ce`` by ``seg_loss``.

        With ``aux`` also ``loss_mccl``.
        """
        logits, features, text = self._run(images, classes)
        if self.options.seg_loss == "ce":
            values = {"loss_ce": softmax_ce(logits, labels)}
        else:
            values = {"loss_bce": per_class_bce(logits, labels, self.options.ignore_in_loss)}
        if self.options.aux == "mccl":
            auxiliary = auxiliary_mccl(self.activate(logits), features, text.mean(dim=1), labels)
            values["loss_mccl"] = self.options.aux_weight * auxiliary
        return values

    def loss_over(self, name: str) -> Literal["images", "pixels"]:
        """Choose labelled pixels for the segmentation loss where it leaves the others out."""
        excluded = name == "loss_ce" or (name == "loss_bce" and self.options.ignore_in_loss == "excluded")
        return "pixels" if excluded else "images"

    def switches(self) -> dict[str, Any]:
        """Return the loss, which decides how logits are read at test."""
        return {"seg_loss": self.options.seg_loss}

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Put new modules at ``lr``, CLIP weights at ``lr`` times ``clip_lr_factor``; norms without weight decay."""
        return optimizer_groups(self, lr, weight_decay, self.options.clip_lr_factor)
