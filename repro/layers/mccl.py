"""Contrast between the classes of an image from image-level labels: SynSeg's FSS and MCCL (arXiv:2508.06115).

All functions work on P pairs of an image and a class that is in it; ``image`` (P,) int64 says whose.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.errors import UsageError, unknown_name
from repro.layers.precision import full_precision

IGNORED = 255
TERMS = ("align", "cont", "back", "sep")
"""The four losses in the order of their weights."""
PAIRS_WITHOUT_VALUES = 8
"""Classes an image is taken to hold where labels have shapes and no values (cost estimates on the meta device)."""


@dataclasses.dataclass(frozen=True)
class MCCL:
    """Choices of the loss; the defaults are SynSeg's, or, where it is silent, those of docs/reconstruction.md.

    Raises UsageError for values that make no loss.
    """

    weights: tuple[float, ...] = (1.0, 0.03, 0.03, 0.1)
    """Weights of align, cont, back and sep; the printed values are lost. 0 leaves a loss out."""
    similarity: Literal["mapped", "clipped"] = "mapped"
    """How a cosine becomes a number between 0 and 1: mapped affinely (v3) or clipped (v2)."""
    eps: float = 0.005
    """Distance of that number from 0 and 1 at least."""
    contrast_above: float = 0.1
    """Only foregrounds and backgrounds of a larger cosine are contrasted."""

    def __post_init__(self) -> None:
        if self.similarity not in ("mapped", "clipped"):
            raise unknown_name(
                "value of option similarity",
                str(self.similarity),
                ("mapped", "clipped"),
                mend="change the method's options in the profile or table",
            )
        if len(self.weights) != len(TERMS) or min(self.weights) < 0 or not any(self.weights):
            raise UsageError(
                "the weights of the MCCL losses make no loss",
                expected=f"{len(TERMS)} numbers, one each of {', '.join(TERMS)}, none negative and not all 0",
                found=self.weights,
            )
        if not 0 < self.eps < 0.5:
            raise UsageError("eps of MCCL is out of range", expected="0 < eps < 0.5", found=self.eps)


class Pairs(NamedTuple):
    """Pairs of an image and a class that is in it, ordered by image and class: two index vectors (P,)."""

    image: Tensor
    category: Tensor


def image_labels(labels: Tensor, classes: int) -> Tensor:
    """Return (B, N) bool: which of ``classes`` classes label at least one pixel of ``labels``
    (B, H, W; 255 is none).
    """
    flat = labels.flatten(1)
    present = torch.zeros(len(labels), classes + 1, dtype=torch.bool, device=labels.device)
    return present.scatter(1, torch.where(flat == IGNORED, classes, flat), True)[:, :classes]


def pairs_of(present: Tensor) -> Pairs:
    """Return the pairs of ``present`` (B, N) bool."""
    if present.is_meta:
        images, classes = present.shape
        count = images * min(classes, PAIRS_WITHOUT_VALUES)
        return Pairs(*(torch.empty(count, dtype=torch.long, device="meta") for _ in range(2)))
    return Pairs(*present.nonzero(as_tuple=True))


def drawn(chosen: Tensor, count: int, keys: Tensor) -> Tensor:
    """Draw ``count`` of the True of every row of ``chosen`` (B, N) bool, without order; all where there are fewer.

    The draw follows from ``keys`` (B,) int64 alone, so that it does not depend on how a batch is divided.
    """
    if chosen.is_meta or count >= chosen.shape[1]:
        return chosen
    mixed = keys.unsqueeze(1) * 0x9E3779B1 + torch.arange(1, chosen.shape[1] + 1, device=chosen.device) * 0x85EBCA6B
    for _ in range(2):  # a multiplicative hash of 32 bits
        mixed = mixed & 0xFFFFFFFF
        mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D
    rank = torch.where(chosen, mixed & 0xFFFFFFFF, -1)
    kept = torch.zeros_like(chosen).scatter(1, rank.topk(count, dim=1).indices, True)
    return kept & chosen


def at_places(activation: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the mean activation (P, L) around each place of ``grid`` of maps (P, H, W), by bilinear weights.

    Pooling with these weights is pooling features that are resized to the maps, at the price of the places; pixels of
    a place then differ in their gradients, which those of a plain mean do not.
    """
    size = (activation.shape[-2], activation.shape[-1])
    wide, device = torch.promote_types(activation.dtype, torch.float32), activation.device
    rows, columns = (
        F.interpolate(torch.eye(g, dtype=wide, device=device).unsqueeze(0), n, mode="linear").squeeze(0) * (g / n)
        for g, n in zip(grid, size, strict=True)
    )
    return (rows.to(activation.dtype) @ activation @ columns.to(activation.dtype).T).flatten(1)


def synergy(activation: Tensor, features: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Compute FSS (P, C), foreground and background, of activations (P, L) in 0..1 and features (P, L, C).

    The means of the features weighted by the activation and by what is missing from it to one.
    """
    weight = torch.stack([activation, 1 - activation], dim=1)
    pooled = weight @ features / (weight.sum(dim=2, keepdim=True) + eps)
    return pooled[:, 0], pooled[:, 1]


def bounded_similarity(cosine: Tensor, options: MCCL) -> Tensor:
    """Return s in [eps, 1 - eps] of a cosine: eps + (1 - 2 eps) (cosine + 1) / 2, or the clipped cosine itself."""
    if options.similarity == "clipped":
        return cosine.clamp(options.eps, 1 - options.eps)
    return options.eps + (1 - 2 * options.eps) * (cosine.clamp(-1, 1) + 1) / 2


def mccl(
    foreground: Tensor, background: Tensor, text: Tensor, image: Tensor, images: int, options: MCCL
) -> dict[str, Tensor]:
    """Return the weighted losses of a batch of ``images`` images, by :data:`TERMS`; those of weight 0 are left out.

    ``foreground``, ``background`` and ``text`` are (P, C), of any length: only their directions matter. Every loss is a
    mean over images of the mean over the image's classes (align, cont) or over its ordered pairs of different classes
    (back, sep); where an image has none of these, it counts 0. Classes whose cosine of foreground and background does
    not exceed ``contrast_above`` count 0 in cont. Computed in float32 or wider, whatever autocast says.
    """
    with full_precision(foreground.device.type):
        return _terms(foreground, background, text, image, images, options)


def _terms(
    foreground: Tensor, background: Tensor, text: Tensor, image: Tensor, images: int, options: MCCL
) -> dict[str, Tensor]:
    wide = torch.promote_types(foreground.dtype, torch.float32)
    f, b, t = (F.normalize(x.to(wide), dim=-1) for x in (foreground, background, text))
    same = image[:, None] == image
    share = 1 / (images * same.sum(dim=1).to(wide))  # of each class in a mean over classes and images
    different = same & ~torch.eye(len(image), dtype=torch.bool, device=image.device)
    couples = different / (images * different.sum(dim=1) * same.sum(dim=1)).clamp(min=1).to(wide)[:, None]
    opposed = (f * b).sum(dim=1)
    losses = {}
    for name, weight in zip(TERMS, options.weights, strict=True):
        if not weight:
            continue
        if name == "align":
            loss = -(share * bounded_similarity((f * t).sum(dim=1), options).log()).sum()
        elif name == "cont":
            counted = share * (opposed > options.contrast_above)
            loss = -(counted * (1 - bounded_similarity(opposed, options)).log()).sum()
        elif name == "back":
            loss = -(couples * bounded_similarity(b @ b.T, options).log()).sum()
        else:
            loss = -(couples * (1 - bounded_similarity(f @ f.T, options)).log()).sum()
        losses[name] = weight * loss
    return losses


def auxiliary_mccl(
    scores: Tensor, features: Tensor, text: Tensor, labels: Tensor, options: MCCL | None = None
) -> Tensor:
    """Compute MCCL beside the loss of a method that is trained with masks, of which it uses the sets of classes only.

    As in SynSeg here: ``scores`` (B, N, h, w) in 0..1 take the part of the activation maps; dense features (B, C, H, W)
    in the space of the text features (N, C), each place of unit length, are pooled by them (:func:`at_places`).
    ``labels`` are (B, H', W') with 255 ignored.
    """
    pairs = pairs_of(image_labels(labels, scores.shape[1]))
    grid = (features.shape[-2], features.shape[-1])
    activation = at_places(scores[pairs.image, pairs.category], grid)
    places = F.normalize(features.flatten(2).transpose(1, 2), dim=-1)[pairs.image]
    foreground, background = synergy(activation, places.to(activation.dtype))
    terms = mccl(foreground, background, text[pairs.category], pairs.image, len(labels), options or MCCL())
    return torch.stack(list(terms.values())).sum()
