"""The training loss of LoGoSeg (Eq. 13)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.losses import IGNORED, bce_sum


def masked_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute Eq. 13: BCE of ``logits`` (B, N, h, w), resized to ``labels`` (B, H, W), over labelled pixels.

    Summed over classes and pixels and divided by the number of pixels with a label (not 255), which makes it N times
    a mean over classes. 0 where no pixel has a label. Computed in float32 (torch's default type).
    """
    logits = logits.to(torch.get_default_dtype())
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    return bce_sum(logits, labels, excluded=True) / (labels != IGNORED).sum().clamp(min=1)
