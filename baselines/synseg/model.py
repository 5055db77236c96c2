"""SynSeg as a method of the harness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.synseg.decoder import ActivationDecoder, Film
from baselines.synseg.options import SynSegOptions
from repro.clip.tower import ClipTower
from repro.layers import tokens
from repro.layers.mccl import MCCL, Pairs, image_labels, mccl, pairs_of, synergy
from repro.layers.method import Method

BACKGROUND = "background"
"""The class whose activation is the threshold everywhere."""


class SynSeg(Method):
    """Activation maps of classes, learned from the sets of classes in images (arXiv:2508.06115).

    Masks do not reach the loss: :meth:`loss` reduces them to the set of classes of each image and
    :meth:`image_loss` does the rest. Both CLIP towers are frozen. Raises IndexError for a block the tower does not
    have.
    """

    activation = "sigmoid"

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
        self.decoder = ActivationDecoder(channels, o.width, o.heads, o.mlp_width, clip.resolution // clip.grid)
        self.projector = nn.Sequential(
            nn.Conv2d(o.width, o.width, 3, padding=1), nn.ReLU(), nn.Conv2d(o.width, clip.embed_dim, 1)
        )

    def prompts(self, names: Sequence[str], background: int | None) -> tuple[str, ...]:
        """With a threshold one class ``background`` in place of all words that mean it."""
        if background is None or self.options.background_threshold is None:
            return tuple(names)
        return (*names[:background], BACKGROUND)

    def texts(self, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """The name in the template."""
        return [(self.options.template.replace("{}", name),) for name in classes]

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Logits (B, N, S, S), S the tower's resolution; of a class ``background`` the logit of the threshold.

        Classes go in chunks where no gradient is recorded; the result is the same and memory is bounded.
        """
        if not classes:
            raise ValueError("no classes to segment")
        shared, grid = self._read(images)
        film = self.film(self.clip.text(classes, self.options.template))
        count, device = len(images), images.device
        every = Pairs(
            torch.arange(count, device=device).repeat_interleave(len(classes)),
            torch.arange(len(classes), device=device).repeat(count),
        )
        step = len(every.image) if torch.is_grad_enabled() else max(1, tokens.CHUNK_ELEMENTS // shared[0][0].numel())
        parts = [
            self._decode(shared, self._condition(shared, film, pairs), pairs, grid)
            for pairs in map(Pairs, every.image.split(step), every.category.split(step))
        ]
        logits = torch.cat(parts).unflatten(0, (count, len(classes)))
        threshold = self.options.background_threshold
        if threshold is not None and BACKGROUND in classes:
            constant = torch.tensor([name == BACKGROUND for name in classes], device=logits.device)
            level = math.log(threshold / (1 - threshold))
            logits = torch.where(constant[:, None, None], level, logits)
        return logits

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """The losses of :meth:`image_loss` for the set of classes that label a pixel of each image."""
        return self.image_loss(images, image_labels(labels, len(classes)), classes)

    def image_loss(self, images: Tensor, present: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """``loss_align``, ``loss_cont``, ``loss_back``, ``loss_sep`` (weighted; those of weight 0 are left out).

        ``present`` (B, N) bool says which classes an image holds; only these are decoded.
        """
        pairs = pairs_of(present)
        shared, grid = self._read(images)
        text = self.clip.text(classes, self.options.template)
        conditional = self._condition(shared, self.film(text), pairs)
        maps = self._decode(shared, conditional, pairs, grid).sigmoid()
        activation = F.avg_pool2d(maps.unsqueeze(1), self.decoder.head.kernel_size).flatten(1)  # one value a place
        features = self.projector(conditional.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)
        foreground, background = synergy(activation, features)
        terms = mccl(foreground, background, text[pairs.category], pairs.image, len(images), self.mccl)
        return {f"loss_{name}": value for name, value in terms.items()}

    def _read(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """Reduced tokens (B, L, D) of the blocks, the deepest first, and the grid of their places."""
        side = self.clip.grid
        maps = [
            g if g.shape[-1] == side else F.adaptive_avg_pool2d(g, side)
            for g in self.clip.dense(images, self.blocks).guides
        ]
        return self.decoder.reduce(maps), (side, side)

    @staticmethod
    def _condition(shared: Sequence[Tensor], film: tuple[Tensor, Tensor], pairs: Pairs) -> Tensor:
        """FiLM: gamma_c F + beta_c for every token of every pair, (P, L, D)."""
        scale, shift = (x[pairs.category].unsqueeze(1) for x in film)
        return scale * shared[0][pairs.image] + shift

    def _decode(self, shared: Sequence[Tensor], conditional: Tensor, pairs: Pairs, grid: tuple[int, int]) -> Tensor:
        return self.decoder(conditional, [x[pairs.image] for x in shared[1:]], grid)

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """All new modules at ``lr``; norm layers without weight decay."""
        norms = [p for m in self.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters() if p.requires_grad]
        known = {id(p) for p in norms}
        others = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        return [
            {"name": "new", "params": others, "lr": lr, "weight_decay": weight_decay},
            {"name": "new_norms", "params": norms, "lr": lr, "weight_decay": 0.0},
        ]

    def switches(self) -> dict[str, Any]:
        """What trained weights are read with: prompt, blocks, heads."""
        return {"template": self.options.template, "blocks": self.blocks, "heads": self.options.heads}

    def stages(self) -> Mapping[str, Sequence[tuple[nn.Module, str]]]:
        """The decoder; conditioning on classes is ``other``."""
        return {"decoder": [(self, "_decode")]}

    @torch.no_grad()
    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """``saliency``: the activation map of each class, in 0..1."""
        return {"saliency": self(images, classes).sigmoid()}


def default_blocks(depth: int) -> tuple[int, ...]:
    """Blocks at one, two and three quarters of a tower, before its last: 3, 6, 9 of 12."""
    return tuple(max(0, min(depth * part // 4, depth - 2)) for part in (1, 2, 3))
