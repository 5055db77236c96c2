"""Retrieval by the powerful model and the decoupled alignment with what it retrieves (Eqs. 1 to 5)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.precision import widened


class Alignment(NamedTuple):
    """``loss`` is a scalar; ``thing`` and ``stuff`` count the regions that took part, as scalars."""

    loss: Tensor
    thing: Tensor
    stuff: Tensor


def decoupled_alignment(
    trained: Tensor,
    powerful: Tensor,
    valid: Tensor,
    *,
    thing_classes: Literal["things", "all"],
    stuff_classes: Literal["all", "stuff"],
    reduction: Literal["image", "group"],
    things: Tensor,
    threshold: float,
) -> Alignment:
    """Return KL divergence of the trained model's distribution over categories from the powerful's, region by region.

    ``trained`` and ``powerful`` (B, R, N) are the logits of regions over the same N categories, ``valid`` (B, R) tells
    regions from padding, ``things`` (N,) things from stuff. The powerful model retrieves a region's category (Eq. 2);
    where it is no more probable than ``threshold`` the region takes no part. A region retrieved as a thing is compared
    over ``thing_classes`` (Eq. 4: over things), one retrieved as stuff over ``stuff_classes`` (Eq. 3: over all); the
    powerful model's distribution over a part of the categories is a softmax of its own.

    ``reduction`` "image": the mean over each image's regions, then over images (Eq. 5), an image without a region
    counting as 0, so that the gradients of several processes average to that of their joint batch. "group": the mean
    over the batch's thing regions plus that over its stuff regions. Without any region the loss is 0, with a graph.
    """
    with torch.no_grad():
        confidence, category = powerful.softmax(dim=-1).max(dim=-1)
        kept = valid & (confidence > threshold)
        thing, stuff = kept & things[category], kept & ~things[category]
    of_thing = divergence(trained, powerful, things if thing_classes == "things" else torch.ones_like(things))
    of_stuff = divergence(trained, powerful, ~things if stuff_classes == "stuff" else torch.ones_like(things))
    if reduction == "group":
        loss = mean_over(of_thing, thing).sum() + mean_over(of_stuff, stuff).sum()
    else:
        chosen = torch.where(thing, of_thing, of_stuff)
        loss = mean_over(chosen, kept, dim=1).mean()
    return Alignment(loss, thing.sum(), stuff.sum())


def divergence(trained: Tensor, powerful: Tensor, among: Tensor) -> Tensor:
    """Return KL(powerful || trained) (B, R) of the softmax over the categories ``among`` (N,)."""
    if not among.any():
        return trained.sum(dim=-1) * 0.0
    target, own = (logits[..., among].log_softmax(dim=-1) for logits in (powerful, trained))
    return F.kl_div(own, target, reduction="none", log_target=True).sum(dim=-1)


def mean_over(values: Tensor, chosen: Tensor, dim: int | None = None) -> Tensor:
    """Return the mean of the ``chosen`` values, over everything or along ``dim``; 0 where none is chosen."""
    counted = torch.where(chosen, values, 0.0)
    total, count = (counted.sum(), chosen.sum()) if dim is None else (counted.sum(dim), chosen.sum(dim))
    return total / count.clamp(min=1)


def region_logits(features: Tensor, text: Tensor, temperature: float) -> Tensor:
    """Return logits (B, R, N) of unit ``features`` (B, R, C) with ``text`` (N, C), its length as it is (Eq. 1)."""
    unit = F.normalize(widened(features), dim=-1)
    return unit @ text.to(unit.dtype).T / temperature
