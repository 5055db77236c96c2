"""DiSa as a method of the harness."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from disa.losses import matching_labels, matching_loss, matching_metrics, segmentation_loss
from disa.options import DisaOptions
from disa.sdm import Matching, SaliencyModule
from disa.segmenter import Segmenter
from disa.selection import drawn_saliency, most_salient, relative, salient_mass
from disa.variants import TokenSplit, class_split
from repro.clip.tower import ClipTower
from repro.errors import UsageError
from repro.layers.blocks import equal_parts
from repro.layers.cost_volume import cosine_cost
from repro.layers.groups import optimizer_groups
from repro.layers.mccl import auxiliary_mccl
from repro.layers.parallel import each
from repro.methods.interface import Method

ATTENTION = ("attn.q_proj_weight", "attn.k_proj_weight", "attn.v_proj_weight", "attn.out_proj.weight")
TRAINED_CLIP = {"qk": ATTENTION[:2], "qv": (ATTENTION[0], ATTENTION[2]), "attention": ATTENTION, "none": ()}


class Division(NamedTuple):
    """How the tokens of an image are divided for each class, and what that was decided by."""

    cost: Tensor
    """Cosines (B, 1, N, H, W) of places and classes."""
    matching: Matching | None
    saliency: Tensor | None
    """(B, N, L), at least 0, detached."""
    mask: Tensor | None
    """(B, N, L): bool, or a soft share of foreground; None where nothing is split."""
    share: Tensor | None = None
    """Saliency (B, N, L) over its largest value of each class, with a graph: the share of foreground backwards."""


class DiSa(Method):
    """Divides the tokens of each class into foreground and background by saliency and refines both apart.

    Raises UsageError where the options do not fit the tower (windows that do not tile its map, heads that do not divide
    a width, more foreground tokens than places).
    """

    def __init__(self, clip: ClipTower, options: DisaOptions | None = None) -> None:
        super().__init__()
        o = options or DisaOptions()
        self.options = o
        self.activation = "softmax" if o.seg_loss == "ce" else "sigmoid"
        self.clip = clip
        self.k = o.tokens(clip.grid**2)
        self.guide_blocks = o.guide_blocks or equal_parts(clip.depth, len(o.decoder_dims))
        _choose_trained(clip, o.clip_finetune)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(clip.width, dim, 2**stage, 2**stage)
            for stage, dim in enumerate(o.decoder_guidance, start=1)
        )
        try:
            self.sdm = (
                SaliencyModule(clip.embed_dim, o.sdm_layers, o.sdm_head_dim, o.sdm_mlp_ratio)
                if o.splits == "sdm"
                else None
            )
            self.token_split = TokenSplit(o.hidden) if o.splits == "token_level" else None
            self.segmenter = Segmenter(o, clip.embed_dim, clip.grid)
        except ValueError as error:
            raise UsageError(
                f"the options of disa do not fit this CLIP tower: {error}",
                expected=f"sizes that fit a {clip.grid}x{clip.grid} map of {clip.embed_dim} channels",
                mend="change the method's options in the profile",
            ) from error

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return logits (B, N, 4 grid, 4 grid) with the two stages of the published decoder."""
        return self._run(images, classes)[0]

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``loss_seg`` and, with the saliency module, ``loss_itm`` (weighted), ``itm_accuracy`` and ``itm_ap``.

        With ``aux`` also ``loss_mccl`` (weighted).
        """
        matched = matching_labels(labels, len(classes))
        logits, division, features, text = self._run(images, classes, matched)
        values = {"loss_seg": segmentation_loss(logits, labels, self.options.seg_loss)}
        if self.options.itm_labels == "shuffled":
            matched = matched.roll(1, dims=0)
        if division.matching is not None:
            pairs = division.matching.logits
            values["loss_itm"] = self.options.itm_weight * matching_loss(pairs, matched)
            values.update(matching_metrics(pairs, matched))
        if self.options.aux == "mccl":
            auxiliary = auxiliary_mccl(self.activate(logits), features, text, labels)
            values["loss_mccl"] = self.options.aux_weight * auxiliary
        return values

    def texts(self, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Put the name in the template."""
        return [(self.options.template.replace("{}", name),) for name in classes]

    def loss_over(self, name: str) -> Literal["images", "pixels"]:
        """Choose labelled pixels for the segmentation loss; pairs of an image and a class for the others."""
        return "pixels" if name == "loss_seg" else "images"

    def switches(self) -> dict[str, Any]:
        """Return all options: most of them change what the weights mean without changing a name or a shape."""
        return dataclasses.asdict(self.options)

    def stages(self) -> Mapping[str, Sequence[tuple[nn.Module, str]]]:
        """Name the stages: ``saliency`` is all that divides the tokens, the cosines it starts from included."""
        return {
            "saliency": [(self, "_divide")],
            "aggregation": [(self.segmenter, "guide"), (self.segmenter, "forward")],
            "decoder": [(self.segmenter.decoder, "forward")],
        }

    @torch.no_grad()
    def class_queries(self, images: Tensor, classes: Sequence[str]) -> Tensor | None:
        """Return the class tokens that enter the last cross-attention layer; None without the saliency module."""
        if self.sdm is None:
            return None
        features, text = self.clip.dense(images), self.clip.text(classes, self.options.template)
        return self._match(text, features.map).layers[-1].x

    @torch.no_grad()
    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``correlation`` (the cosine) and, where tokens are divided, ``foreground`` and ``saliency``.

        Of a saliency that weights attention (Eq. 2) also that ``attention``, the same layer's.
        """
        features = self.clip.dense(images, self.guide_blocks)
        division = self._divide(features.map, self.clip.text(classes, self.options.template), classes, None)
        grid = division.cost.shape[-2:]
        maps = {"correlation": division.cost.squeeze(1)}
        if division.mask is not None:
            maps["foreground"] = (division.mask.float() > 0.5).float().unflatten(2, grid)
        if division.saliency is not None:
            maps["saliency"] = division.saliency.unflatten(2, grid)
        if self.sdm is not None and division.matching is not None and self.options.saliency == "gradcam":
            maps["attention"] = self.sdm.attention(division.matching, self.options.saliency_layer).unflatten(2, grid)
        return maps

    def _run(
        self, images: Tensor, classes: Sequence[str], matched: Tensor | None = None
    ) -> tuple[Tensor, Division, Tensor, Tensor]:
        """Return logits, division, dense features (B, C, H, W) and text features (N, C)."""
        if not classes:
            raise ValueError("no classes to segment")
        features = self.clip.dense(images, self.guide_blocks)
        guides = [up(g) for up, g in zip(self.upsample, features.guides, strict=True)]
        text = self.clip.text(classes, self.options.template)
        if torch.is_grad_enabled() or len(images) < 2 or not images.is_cpu:
            division = self._divide(features.map, text, classes, matched)
        else:
            division = self._divide_each(features.map, text, classes)
        guidance = self.segmenter.guide(features.map, guides)
        return self.segmenter(division.cost, division.mask, guidance, division.share), division, features.map, text

    def _divide(self, features: Tensor, text: Tensor, classes: Sequence[str], matched: Tensor | None) -> Division:
        """Divide the tokens by dense features (B, C, H, W) and text features (N, C).

        ``matched`` (B, N) are the labels of Eq. 1 where known.
        """
        o = self.options
        cost = cosine_cost(features, text[None, :, None])
        shape = (cost.shape[0], cost.shape[2], cost.shape[3] * cost.shape[4])
        if o.splits == "none":
            return Division(cost, None, None, None)
        if o.splits == "class_level":
            things = class_split(classes).to(cost.device)
            return Division(cost, None, None, things[None, :, None].expand(shape))
        if self.token_split is not None:
            # The embedding is affine: the mean over classes of C is C of the mean.
            share = self.token_split(self.segmenter.embedding(cost.mean(dim=2, keepdim=True)).squeeze(1))
            return Division(cost, None, None, share.unsqueeze(1).expand(shape))
        matching = None
        if o.saliency in ("gradcam", "attention") or matched is not None:
            matching = self._match(text, features)
        saliency = self._saliency(matching, cost, classes, matched)
        ranked = saliency.detach()
        if o.selection == "soft":
            return Division(cost, matching, ranked, relative(saliency))
        mask = salient_mass(ranked, o.saliency_mass) if o.k_policy == "adaptive" else most_salient(ranked, self.k)
        share = relative(saliency) if saliency.requires_grad else None
        return Division(cost, matching, ranked, mask, share)

    def _divide_each(self, features: Tensor, text: Tensor, classes: Sequence[str]) -> Division:
        """Divide the tokens of one image after another, so that what is between stays in cache; no gradients."""
        parts = each(lambda i: self._divide(features[i : i + 1], text, classes, None), len(features), features.device)
        masks = [part.mask for part in parts if part.mask is not None]
        return Division(torch.cat([part.cost for part in parts]), None, None, torch.cat(masks) if masks else None)

    def _match(self, text: Tensor, features: Tensor) -> Matching:
        tokens = text * text.shape[-1] ** 0.5 if self.options.text_scale == "sqrt" else text
        found: Matching = self.sdm(tokens, features.flatten(2).transpose(1, 2))  # type: ignore[misc]
        return found

    def _saliency(
        self, matching: Matching | None, cost: Tensor, classes: Sequence[str], matched: Tensor | None
    ) -> Tensor:
        o = self.options
        if self.sdm is not None and matching is not None and o.saliency == "gradcam":
            live = o.selection != "hard" and torch.is_grad_enabled()
            return self.sdm.saliency(matching, o.saliency_layer, o.saliency_target, matched, live=live)
        if self.sdm is not None and matching is not None and o.saliency == "attention":
            return self.sdm.attention(matching, o.saliency_layer)
        cosine = cost.detach().flatten(3).squeeze(1).to(torch.get_default_dtype())
        if o.saliency == "random":
            return drawn_saliency(classes, cosine.shape[2], cosine.device).expand_as(cosine)
        return cosine - cosine.amin(dim=2, keepdim=True)

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Put new modules at ``lr``, CLIP weights at ``lr`` times ``clip_lr_factor``; norms without weight decay."""
        return optimizer_groups(self, lr, weight_decay, self.options.clip_lr_factor)


def _choose_trained(clip: ClipTower, choice: str) -> None:
    if choice == "full":
        clip.train_only(("",))
        clip.model.logit_scale.requires_grad_(False)  # no part in cosines
    else:
        clip.train_only(TRAINED_CLIP[choice])
