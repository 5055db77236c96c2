"""Losses that several methods share."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = 255


def per_class_bce(logits: Tensor, labels: Tensor, ignored: Literal["zero_target", "excluded"]) -> Tensor:
    """Compute CAT-Seg's loss: mean binary cross-entropy of ``logits`` (B, T, h, w), resized to ``labels`` (B, H, W).

    Targets are one-hot, the mean is over all B x H x W x T entries. Pixels labelled 255 have all-zero targets
    (``zero_target``, as released) or are left out of sum and count (``excluded``).

    Computed in float32 or wider; see :class:`_BceSum`.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    labelled, excluded = labels != IGNORED, ignored == "excluded"
    index = torch.where(labelled, labels, 0)
    total: Tensor = _BceSum.apply(logits, index.unsqueeze(1), labelled.unsqueeze(1), excluded)
    return total / ((labelled.sum() * logits.shape[1]).clamp(min=1) if excluded else logits.numel())


class _BceSum(torch.autograd.Function):
    """The sum of BCE(x, y) = softplus(x) - x y over logits x (B, T, H, W) and one-hot targets y that are never made.

    ``index`` (B, 1, H, W) is the class of each pixel, ``labelled`` whether it has one; with ``excluded`` the others
    count nowhere. The gradient sigmoid(x) - y is one pass; that of the operations spelled out takes several.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, labelled: Tensor, excluded: bool) -> Tensor:
        ctx.save_for_backward(logits, index, labelled)
        ctx.excluded = excluded
        each = F.softplus(logits)
        kept = torch.where(labelled, each.sum(dim=1, keepdim=True), 0.0) if excluded else each
        return kept.sum() - torch.where(labelled, logits.gather(1, index), 0.0).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        logits, index, labelled = ctx.saved_tensors
        grad = torch.sigmoid(logits)
        if ctx.excluded:
            grad *= labelled
        grad.scatter_(1, index, grad.gather(1, index) - labelled.to(grad.dtype))
        return grad.mul_(grads[0]), None, None, None


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
