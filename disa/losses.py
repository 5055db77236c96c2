"""Training losses of DiSa (Eq. 1, Sec. 3.5) and what is logged beside them."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.losses import IGNORED, per_class_bce, softmax_ce


def segmentation_loss(logits: Tensor, labels: Tensor, kind: Literal["ce", "bce"]) -> Tensor:
    """Return the mean loss of ``logits`` (B, N, h, w), resized to ``labels`` (B, H, W), over labelled pixels; else 0.

    ``ce``: softmax cross-entropy over the N classes. ``bce``: CAT-Seg's, a mean over classes too. In float32.
    """
    if kind == "bce":
        return per_class_bce(logits, labels, "excluded")
    return softmax_ce(logits, labels)


def matching_labels(labels: Tensor, classes: int) -> Tensor:
    """Compute Eq. 1: (B, N) int64, 1 where a class labels at least one pixel of ``labels`` (B, H, W)."""
    flat = labels.flatten(1)
    present = torch.zeros(len(labels), classes + 1, dtype=torch.long, device=labels.device)
    return present.scatter(1, torch.where(flat == IGNORED, classes, flat), 1)[:, :classes]


def matching_loss(logits: Tensor, matched: Tensor) -> Tensor:
    """Return L_itm of Eq. 1: mean cross-entropy of ``logits`` (B, N, 2) with ``matched`` (B, N), at least float32."""
    return F.cross_entropy(logits.to(torch.get_default_dtype()).flatten(0, 1), matched.flatten())


@torch.no_grad()
def matching_metrics(logits: Tensor, matched: Tensor) -> dict[str, Tensor]:
    """Return ``itm_accuracy`` and ``itm_ap``, the average precision over all pairs (NaN where nothing matches)."""
    score = (logits[..., 1] - logits[..., 0]).to(torch.get_default_dtype()).flatten()
    hits = matched.flatten()[score.argsort(descending=True, stable=True)]
    precision = hits.cumsum(0).double() / torch.arange(1, len(hits) + 1, device=hits.device)
    accuracy = ((score > 0) == matched.flatten().bool()).float().mean()
    return {"itm_accuracy": accuracy, "itm_ap": (precision * hits).sum() / hits.sum()}
