"""The two plain distillations from the powerful model that Table 2 sets the decoupled alignment against.

No equation of either is at hand; docs/reconstruction.md says what was chosen. Both take every region:
nothing is denoised, and things are not told from stuff.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.densevlm.loss import Alignment, divergence, mean_over
from repro.layers.precision import widened


def logit_distillation(
    trained: Tensor, powerful: Tensor, valid: Tensor, *, things: Tensor, reduction: Literal["image", "group"]
) -> Alignment:
    """Return KL divergence of the trained model's distribution over ALL categories from the powerful's.

    ``trained`` and ``powerful`` (B, R, N) are logits of regions, ``valid`` (B, R) tells regions from padding,
    ``things`` (N,) only says what the counted regions were retrieved as. ``reduction`` as in :func:`_reduced`.
    """
    wanted = powerful.detach()
    of_region, thing = divergence(trained, wanted, torch.ones_like(things)), things[wanted.argmax(dim=-1)]
    return Alignment(_reduced(of_region, valid, reduction), (valid & thing).sum(), (valid & ~thing).sum())


def feature_distillation(
    projected: Tensor, powerful: Tensor, valid: Tensor, *, reduction: Literal["image", "group"]
) -> Alignment:
    """Return 1 minus the cosine of region features ``projected`` and ``powerful``, both (B, R, C).

    ``projected`` are the trained model's, brought to the powerful one's width by a linear map that is trained with it
    and thrown away. No text takes part; all regions are counted under ``thing``.
    """
    wanted = F.normalize(widened(powerful.detach()), dim=-1)
    distance = 1 - (F.normalize(widened(projected), dim=-1) * wanted).sum(dim=-1)
    count = valid.sum()
    return Alignment(_reduced(distance, valid, reduction), count, torch.zeros_like(count))


def _reduced(values: Tensor, valid: Tensor, reduction: Literal["image", "group"]) -> Tensor:
    """Return the mean over each image's regions, then over images; or that over all regions of the batch."""
    return mean_over(values, valid) if reduction == "group" else mean_over(values, valid, dim=1).mean()
