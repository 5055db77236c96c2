"""The training loss of LoGoSeg (Eq. 13)."""

from __future__ import annotations

from torch import Tensor

from repro.layers.losses import IGNORED, summed_bce


def masked_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute Eq. 13: BCE of ``logits`` (B, N, h, w), resized to ``labels`` (B, H, W), over labelled pixels.

    Summed over classes and pixels and divided by the number of pixels with a label (not 255), which makes it N times
    a mean over classes. 0 where no pixel has a label. Computed in float32 or wider.
    """
    labelled = labels != IGNORED
    return summed_bce(logits, labels) / labelled.sum().clamp(min=1)
