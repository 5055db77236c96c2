"""Losses that several methods share."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = 255


def per_class_bce(logits: Tensor, labels: Tensor, ignored: Literal["zero_target", "excluded"]) -> Tensor:
    """Compute CAT-Seg's loss: mean binary cross-entropy of ``logits`` (B, T, h, w), resized to ``labels`` (B, H, W).

    Targets are one-hot, the mean is over all B x H x W x T entries. Pixels labelled 255 have all-zero targets
    (``zero_target``, as released) or are left out of sum and count (``excluded``).

    Since BCE(x, y) = softplus(x) - x y, the loss is the sum of softplus less the logits at the labels; the one-hot
    target is never made. Computed in float32 or wider.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    labelled = labels != IGNORED
    index = torch.where(labelled, labels, 0).unsqueeze(1)
    at_label = logits.gather(1, index).squeeze(1)
    classes = logits.shape[1]
    hits = torch.where(labelled, at_label, 0.0).sum()
    if ignored == "zero_target":
        return (F.softplus(logits).sum() - hits) / logits.numel()
    each = torch.where(labelled, F.softplus(logits).sum(dim=1), 0.0)
    return (each.sum() - hits) / (labelled.sum() * classes).clamp(min=1)


def softmax_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``logits`` (B, T, h, w), resized to ``labels`` (B, H, W), labelled pixels.

    0 where no pixel has a label. Computed in float32 or wider.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    labelled = labels != IGNORED
    if torch.are_deterministic_algorithms_enabled():  # the fused loss of maps has no such kernel on GPUs
        at_label = logits.gather(1, torch.where(labelled, labels, 0).unsqueeze(1)).squeeze(1)
        total = torch.where(labelled, logits.logsumexp(dim=1) - at_label, 0.0).sum()
    else:
        total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total / labelled.sum().clamp(min=1)
