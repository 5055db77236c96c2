"""A small method for tests of the engine: a linear pixel classifier over embeddings hashed from class names."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.methods.interface import Method


class PixelClassifier(Method):
    """Logits at a quarter of the image size from a 1x1 convolution; has dropout, a frozen and a slow part."""

    def __init__(self, activation: Literal["sigmoid", "softmax"] = "softmax", dropout: float = 0.2) -> None:
        super().__init__()
        self.activation = activation
        self.slow = nn.Conv2d(3, 16, 1)
        self.head = nn.Conv2d(16, 32, 1)
        self.frozen = nn.Linear(32, 32)
        self.frozen.requires_grad_(False)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def embed(classes: Sequence[str]) -> Tensor:
        """(N, 32), each row from the name alone."""
        rows = [torch.randn(32, generator=torch.Generator().manual_seed(zlib.crc32(c.encode()))) for c in classes]
        return torch.stack(rows)

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        if not classes:
            raise ValueError("no class")
        pooled = F.avg_pool2d(images / 127.5 - 1, 4, ceil_mode=True)
        features = self.head(self.dropout(torch.tanh(self.slow(pooled))))
        return torch.einsum("bchw,nc->bnhw", features, self.frozen(self.embed(classes).to(images.device)))

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        logits = F.interpolate(self(images, classes), size=labels.shape[-2:], mode="bilinear").float()
        hits = (logits.argmax(1) == labels)[labels != 255]
        return {"loss_ce": F.cross_entropy(logits, labels, ignore_index=255), "accuracy": hits.float().mean()}

    def loss_over(self, name: str) -> Literal["images", "pixels"]:
        del name
        return "pixels"

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return [
            {"name": "head", "params": list(self.head.parameters()), "lr": lr, "weight_decay": weight_decay},
            {"name": "slow", "params": list(self.slow.parameters()), "lr": 0.01 * lr, "weight_decay": 0.0},
        ]


def make_method(seed: int = 0, **options: Any) -> PixelClassifier:
    """A PixelClassifier with weights drawn from ``seed``."""
    torch.manual_seed(seed)
    return PixelClassifier(**options)
