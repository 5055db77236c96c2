"""Zero-shot dense CLIP as a method of the harness."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from baselines.clip.options import ClipOptions
from repro.clip.tower import ClipTower
from repro.layers.cost_volume import cosine_cost
from repro.methods.interface import Method


class DenseClip(Method):
    """Cosine of dense and text features over a temperature; softmax over the classes."""

    activation = "softmax"

    def __init__(self, clip: ClipTower, options: ClipOptions | None = None) -> None:
        super().__init__()
        self.options = options or ClipOptions()
        self.clip = clip
        clip.train_only()

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return logits (B, N, grid, grid)."""
        if not classes:
            raise ValueError("no classes to segment")
        cost = self._cosine(images, classes)
        if self.options.temperature is not None:
            return cost / self.options.temperature
        return cost * self.clip.logit_scale.to(cost.dtype)

    def texts(self, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Put the name in the template."""
        return [(self.options.template.replace("{}", name),) for name in classes]

    @torch.no_grad()
    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return ``correlation``: the cosine of each place and class."""
        return {"correlation": self._cosine(images, classes)}

    def _cosine(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Compute cosines (B, N, grid, grid)."""
        text = self.clip.text(classes, self.options.template)
        return cosine_cost(self.clip.dense(images).map, text[None, :, None])[:, 0]

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Raise NotImplementedError always: nothing trains."""
        raise NotImplementedError("zero-shot CLIP has nothing to train")
