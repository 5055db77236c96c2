"""The training loss of LoGoSeg (Eq. 13)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = 255


def masked_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute Eq. 13: BCE of ``logits`` (B, N, h, w), resized to ``labels`` (B, H, W), over labelled pixels.

    Summed over classes and pixels and divided by the number of pixels with a label (not 255), which makes it N times
    a mean over classes. 0 where no pixel has a label. Computed in float32 (torch's default type).

    BCE(x, y) = softplus(x) - x y: the sum of softplus less the logit at the label, without a one-hot target.
    """
    logits = logits.to(torch.get_default_dtype())
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    labelled = labels != IGNORED
    at_label = logits.gather(1, torch.where(labelled, labels, 0).unsqueeze(1)).squeeze(1)
    each = torch.where(labelled, F.softplus(logits).sum(dim=1) - at_label, 0.0)
    return each.sum() / labelled.sum().clamp(min=1)
