"""SynSeg as a method of the harness."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.synseg.decoder import ActivationDecoder, Film
from baselines.synseg.options import SynSegOptions
from repro.clip.tower import ClipTower
from repro.layers import tokens
from repro.layers.groups import optimizer_groups
from repro.layers.mccl import MCCL, Pairs, at_places, drawn, image_labels, mccl, pairs_of, synergy
from repro.layers.precision import widened
from repro.methods.interface import Method

BACKGROUND = "background"
"""The class whose activation is the threshold everywhere."""


class Seen(NamedTuple):
    """What all classes of an image share."""

    stages: list[Tensor]
    """Reduced tokens (B, L, D) of the blocks, the deepest first."""
    dense: Tensor
    """CLIP's dense features (B, L, C)."""
    grid: tuple[int, int]
    """Height and width of their places."""


class SynSeg(Method):
    """Activation maps of classes, learned from the sets of classes in images (arXiv:2508.06115).

    Masks do not reach the loss: :meth:`loss` reduces them to the set of classes of each image and
    :meth:`image_loss` does the rest. Both CLIP towers are frozen. Raises UsageError for a block the tower does not
    have.
    """

    activation = "sigmoid"
    supervision = "image labels"
    threshold = "background_threshold"

    def __init__(self, clip: ClipTower, options: SynSegOptions | None = None) -> None:
        super().__init__()
        o = options or SynSegOptions()
        self.options = o
        weights = (o.align_weight, o.cont_weight, o.back_weight, o.sep_weight)
        self.mccl = MCCL(weights, o.similarity, o.eps, o.contrast_above)
        self.clip = clip
        clip.train_only()
        self.blocks = tuple(sorted(o.blocks or default_blocks(clip.depth), reverse=True))
        self.film = Film(clip.embed_dim, o.film_hidden, o.width)
        channels = [clip.guide_channels(block) for block in self.blocks]
        self.decoder = ActivationDecoder(
            channels, o.width, o.heads, o.mlp_width, clip.resolution // clip.grid, o.normalise
        )
        projected = nn.Sequential(
            nn.Conv2d(o.width, o.width, 3, padding=1), nn.ReLU(), nn.Conv2d(o.width, clip.embed_dim, 1)
        )
        self.projector = projected if o.features != "clip" else None

    def prompts(self, names: Sequence[str], background: int | None) -> tuple[str, ...]:
        """Put, with a threshold, one class ``background`` in place of all words that mean it."""
        if background is None or self.options.background_threshold is None:
            return tuple(names)
        return (*names[:background], BACKGROUND)

    def texts(self, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Put the name in the template."""
        return [(self.options.template.replace("{}", name),) for name in classes]

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return logits (B, N, S, S), S the tower's resolution; of a class ``background`` the logit of the threshold.

        Classes go in chunks where no gradient is recorded; the result is the same and memory is bounded.
        """
        if not classes:
            raise ValueError("no classes to segment")
        seen = self._read(images)
        film = self.film(self.clip.text(classes, self.options.template))
        count, device = len(images), images.device
        every = Pairs(
            torch.arange(count, device=device).repeat_interleave(len(classes)),
            torch.arange(len(classes), device=device).repeat(count),
        )
        step = (
            len(every.image) if torch.is_grad_enabled() else max(1, tokens.CHUNK_ELEMENTS // seen.stages[0][0].numel())
        )
        parts = (
            self.decoder.maps(self._decode(seen, self._condition(seen, film, pairs), pairs), seen.grid)
            for pairs in map(Pairs, every.image.split(step), every.category.split(step))
        )
        logits = _joined(parts, len(every.image)).unflatten(0, (count, len(classes)))
        threshold = self.options.background_threshold
        return logits if threshold is None else self.at_threshold(logits, classes, threshold)

    def at_threshold(self, logits: Tensor, classes: Sequence[str], value: float) -> Tensor:
        """Put the logit of ``value`` in place of those of a class ``background``, at every place."""
        if BACKGROUND not in classes:
            return logits
        constant = torch.zeros(len(classes), dtype=torch.bool, device=logits.device)
        for index, name in enumerate(classes):  # set there: a list would be sent to the device
            if name == BACKGROUND:
                constant[index].fill_(True)
        return torch.where(constant[:, None, None], math.log(value / (1 - value)), logits)

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return the losses of :meth:`image_loss` for the set of classes that label a pixel of each image."""
        return self.image_loss(images, image_labels(labels, len(classes)), classes)

    def image_loss(self, images: Tensor, present: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``loss_align``, ``loss_cont``, ``loss_back``, ``loss_sep``, ``loss_present`` and ``loss_absent``
        (weighted; none of weight 0).

        ``present`` (B, N) bool says which classes an image holds; these and a draw of the others are decoded.
        """
        o = self.options
        # How many pairs are decoded follows from the labels: the host reads them before there is more to wait for.
        pairs = pairs_of(present)
        absent = self._draw_absent(images, present) if o.absent_classes and o.absent_weight else None
        seen = self._read(images)
        text = self.clip.text(classes, o.template)
        film = self.film(text)
        conditional = self._condition(seen, film, pairs)
        tokens = self._decode(seen, conditional, pairs)
        logits = self.decoder.maps(tokens, seen.grid)
        activation = at_places(logits.sigmoid(), seen.grid)
        features = self._features(seen, conditional, tokens, pairs)
        foreground, background = synergy(activation, features)
        terms = mccl(foreground, background, text[pairs.category], pairs.image, len(images), self.mccl)
        losses = {f"loss_{name}": value for name, value in terms.items()}
        if o.present_weight:
            losses["loss_present"] = o.present_weight * self._present(logits, pairs, present)
        if absent is not None:
            losses["loss_absent"] = o.absent_weight * self._absent(seen, film, *absent)
        return losses

    def _present(self, logits: Tensor, pairs: Pairs, present: Tensor) -> Tensor:
        """Return cross-entropy of "the class is somewhere" for those that are, mean over each image's, then images.

        The evidence is a soft maximum over the places: the logarithm of their mean exponential.
        """
        wide = widened(logits).flatten(1)
        evidence = wide.logsumexp(dim=1) - math.log(wide.shape[1])
        return (F.softplus(-evidence) / present.sum(dim=1)[pairs.image]).sum() / len(present)

    def _draw_absent(self, images: Tensor, present: Tensor) -> tuple[Tensor, Pairs]:
        """Return absent classes (B, N) bool, drawn, and their pairs.

        Of an image without any label nothing is known to be absent.
        """
        known = present.any(dim=1, keepdim=True)
        chosen = drawn(~present & known, self.options.absent_classes, images.long().flatten(1).sum(dim=1))
        return chosen, pairs_of(chosen)

    def _absent(self, seen: Seen, film: tuple[Tensor, Tensor], chosen: Tensor, pairs: Pairs) -> Tensor:
        """Return binary cross-entropy of the maps of absent classes with a mask of nothing, mean over their pixels."""
        logits = self.decoder.maps(self._decode(seen, self._condition(seen, film, pairs), pairs), seen.grid)
        wide = widened(logits)
        each = F.softplus(wide).mean(dim=(1, 2))  # softplus(x) = -log(1 - sigmoid(x))
        return (each / chosen.sum(dim=1)[pairs.image]).sum() / len(chosen)

    def _features(self, seen: Seen, conditional: Tensor, tokens: Tensor, pairs: Pairs) -> Tensor:
        """Return V_c (P, L, C) of the pairs, in the space of the text features."""
        kind = self.options.features
        dense = F.normalize(seen.dense, dim=-1)[pairs.image]
        if self.projector is None:
            return dense
        source = conditional if kind == "conditional" else tokens
        own: Tensor = self.projector(source.transpose(1, 2).unflatten(2, seen.grid)).flatten(2).transpose(1, 2)
        return dense + F.normalize(own, dim=-1) if kind == "sum" else own

    def _read(self, images: Tensor) -> Seen:
        side = self.clip.grid
        features = self.clip.dense(images, self.blocks)
        maps = [g if g.shape[-1] == side else F.adaptive_avg_pool2d(g, side) for g in features.guides]
        return Seen(self.decoder.reduce(maps), features.map.flatten(2).transpose(1, 2), (side, side))

    @staticmethod
    def _condition(seen: Seen, film: tuple[Tensor, Tensor], pairs: Pairs) -> Tensor:
        """Apply FiLM: gamma_c F + beta_c for every token of every pair, (P, L, D)."""
        scale, shift = (x[pairs.category].unsqueeze(1) for x in film)
        return scale * seen.stages[0][pairs.image] + shift

    def _decode(self, seen: Seen, conditional: Tensor, pairs: Pairs) -> Tensor:
        return self.decoder.tokens(conditional, [x[pairs.image] for x in seen.stages[1:]])

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Put all new modules at ``lr``; norm layers without weight decay."""
        return optimizer_groups(self, lr, weight_decay, clip_factor=0.0)

    def switches(self) -> dict[str, Any]:
        """Return what trained weights are read with: prompt, blocks, heads."""
        return {"template": self.options.template, "blocks": self.blocks, "heads": self.options.heads}

    def stages(self) -> Mapping[str, Sequence[tuple[nn.Module, str]]]:
        """Name the decoder; conditioning on classes is ``other``."""
        return {"decoder": [(self, "_decode")]}

    @torch.no_grad()
    def class_queries(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return the conditional features of each class, mean over the places."""
        seen, film = self._read(images), self.film(self.clip.text(classes, self.options.template))
        pairs = pairs_of(torch.ones(len(images), len(classes), dtype=torch.bool, device=images.device))
        return self._condition(seen, film, pairs).mean(dim=1).unflatten(0, (len(images), len(classes)))

    @torch.no_grad()
    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``saliency``: the activation map of each class, in 0..1."""
        return {"saliency": self(images, classes).sigmoid()}


def _joined(parts: Iterator[Tensor], count: int) -> Tensor:
    """Return maps (count, ...) of all parts, holding one of them beside the result; ``cat`` would hold all."""
    first = next(parts)
    if len(first) == count:
        return first
    whole, done = first.new_empty(count, *first.shape[1:]), len(first)
    whole[:done] = first
    for part in parts:
        whole[done : done + len(part)] = part
        done += len(part)
    return whole


def default_blocks(depth: int) -> tuple[int, ...]:
    """Return blocks at one, two and three quarters of a tower, before its last: 3, 6, 9 of 12."""
    return tuple(max(0, min(depth * part // 4, depth - 2)) for part in (1, 2, 3))
