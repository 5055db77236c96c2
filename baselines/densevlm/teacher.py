"""Who names the regions: the frozen tower, or, as a control, the drawn labels. And whether the tower may teach."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from baselines.densevlm.data import RegionSet, collate
from baselines.densevlm.loss import region_logits
from repro.errors import ReproError, RunError

IMAGES = 200
"""Images of the stream that the premise is measured on, at most."""
BATCH = 8
FLOOR = 1e-3
"""Share of a region that a category it does not hold is taken to have: its logarithm is a logit."""


@dataclasses.dataclass(frozen=True)
class Premise:
    """How often teacher and student name a region by the class that covers most of it; fractions."""

    teacher: float
    student: float
    regions: int
    """Labelled regions whose retrieved category is more probable than the threshold: those that are aligned."""

    @property
    def holds(self) -> bool:
        """Whether there is something to be learned."""
        return self.teacher > self.student


def label_logits(shares: Tensor) -> Tensor:
    """Return logits (B, R, N) whose softmax is the share of each class in a region, of ``shares`` (B, R, N)."""
    return shares.clamp(min=FLOOR).log()


@torch.no_grad()
def premise(
    towers: tuple[nn.Module, nn.Module],
    texts: Sequence[Tensor],
    data: RegionSet,
    retrieval: tuple[Tensor, float],
    threshold: float,
) -> Premise:
    """Measure whether the teacher, the first of ``towers``, names regions better than the student does.

    ``towers`` are modules from images and boxes to region features, ``texts`` of unit length the classes of the labels
    ``data`` has, as each encodes them. ``retrieval`` are the teacher's text (N, C) of the alignment's categories and
    its temperature, by which it keeps regions.
    """
    device = texts[0].device
    right, regions, count = [0, 0], 0, min(IMAGES, len(data))
    for begin in range(0, count, BATCH):
        batch = collate([data[i * len(data) // count, i] for i in range(begin, min(begin + BATCH, count))])
        if isinstance(batch, ReproError):
            raise batch
        assert batch.shares is not None
        images, boxes = batch.images.float().to(device), batch.boxes.to(device)
        features = [tower(images, boxes) for tower in towers]
        confidence = region_logits(features[0], *retrieval).softmax(dim=-1).amax(dim=-1).cpu()
        truth = batch.shares.argmax(dim=-1)
        kept = batch.valid & (batch.shares.amax(dim=-1) > 0) & (confidence > threshold)
        for k, (own, text) in enumerate(zip(features, texts, strict=True)):
            right[k] += int((region_logits(own, text, 1.0).argmax(dim=-1).cpu() == truth)[kept].sum())
        regions += int(kept.sum())
    return Premise(right[0] / max(1, regions), right[1] / max(1, regions), regions)


def refuse_weak(found: Premise) -> None:
    """Raise RunError where the premise does not hold."""
    if found.holds:
        return
    raise RunError(
        "the powerful model names regions no better than the model it is to teach",
        expected=f"more than the student's {100 * found.student:.1f} % of regions named right",
        found=f"{100 * found.teacher:.1f} % of the {found.regions} labelled regions that would be aligned",
        mend="name a better powerful model, or continue anyway: accept_weak_teacher=True in the recipe",
    )
