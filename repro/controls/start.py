"""Control (b): before any training, what a method says of a place depends on the class it is asked about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.methods.interface import Method


@dataclasses.dataclass(frozen=True)
class Start:
    """How much an untrained method tells classes apart."""

    over_classes: float
    """Variance of the logits of a place over the classes, mean over images and places."""
    over_places: float
    """Variance of the logits of a class over the places, mean over images and classes."""
    query_cosine: float | None
    """Mean cosine of different classes' queries; None where the method has no queries."""
    text_cosine: float
    """The same of the classes' text features."""

    @property
    def ratio(self) -> float:
        """Variance over classes in units of that over places."""
        return self.over_classes / self.over_places if self.over_places else 0.0


@torch.no_grad()
def start(method: Method, images: Tensor, classes: Sequence[str]) -> Start:
    """Read ``method`` as it is on ``images`` (B, 3, S, S), 0..255, for two or more ``classes``."""
    method.eval()
    images = images.to(next(method.parameters()).device).float()
    logits = torch.cat([method(image.unsqueeze(0), classes).float() for image in images])
    queries = method.class_queries(images, classes)
    clip = method.get_submodule("clip")
    text = clip.text(classes, "A photo of a {}")  # type: ignore[operator]
    return Start(
        float(logits.var(dim=1).mean()),
        float(logits.flatten(2).var(dim=2).mean()),
        None if queries is None else mean_cosine(queries.float()),
        mean_cosine(text.unsqueeze(0)),
    )


def mean_cosine(vectors: Tensor) -> float:
    """Return the mean cosine of different ones of the N vectors (B, N, D), mean over B."""
    unit = F.normalize(vectors, dim=-1)
    count = unit.shape[1]
    together = unit.sum(dim=1).pow(2).sum(dim=-1)
    return float(((together - count) / (count * (count - 1))).mean())
