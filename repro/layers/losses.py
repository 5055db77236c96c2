"""Losses that several methods share.

Logits are resized to the labels inside the losses, one image after another, and their gradient is made in the same pass
in closed form. So nothing of the labels' size is kept for the backward pass, and maps of one image stay in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from repro.layers.precision import full_precision, widened

IGNORED = 255

PerImage = Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]
"""The loss of one image, summed, and its gradient where asked for: of logits (T, H, W), which it may overwrite, the
class of each pixel and whether it has one (1, H, W)."""


def per_class_bce(logits: Tensor, labels: Tensor, ignored: Literal["zero_target", "excluded"]) -> Tensor:
    """Compute CAT-Seg's loss: mean binary cross-entropy of ``logits`` (B, T, h, w), resized to ``labels`` (B, H, W).

    Targets are one-hot, the mean is over all B x H x W x T entries. Pixels labelled 255 have all-zero targets
    (``zero_target``, as released) or are left out of sum and count (``excluded``). Computed in float32 or wider.
    """
    classes, (height, width) = logits.shape[1], labels.shape[-2:]
    if ignored == "excluded":
        return summed_bce(logits, labels) / ((labels != IGNORED).sum() * classes).clamp(min=1)
    return _sum(_bce_of_all_pixels, logits, labels) / (len(logits) * classes * height * width)


def summed_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of binary cross-entropy of ``logits`` (B, T, h, w), resized to ``labels`` (B, H, W).

    It goes over all classes and the pixels with a label. Computed in float32 or wider.
    """
    return _sum(_bce_of_labelled, logits, labels)


def softmax_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``logits`` (B, T, h, w), resized to ``labels`` (B, H, W), labelled pixels.

    0 where no pixel has a label. Computed in float32 or wider.
    """
    total = _sum(_ce, logits, labels)
    labelled = labels != IGNORED
    return total / labelled.sum().clamp(min=1)


class Bilinear:
    """Bilinear resizing of maps, not aligned at corners, from one size (h, w) to another (H, W), as matrix products.

    It is linear, and rows and columns are resized one after the other. Two thin products are several times faster on a
    CPU than the kernels of ``interpolate``, above all backwards, and give the same bits every time on a GPU.
    """

    def __init__(self, before: Sequence[int], after: Sequence[int], like: Tensor) -> None:
        self.rows, self.columns = (
            F.interpolate(torch.eye(a, dtype=like.dtype, device=like.device).unsqueeze(0), b, mode="linear")[0]
            for a, b in zip(before, after, strict=True)
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Map (T, h, w) to (T, H, W)."""
        return self.rows.t().expand(len(x), -1, -1) @ x @ self.columns

    def back(self, grad: Tensor) -> Tensor:
        """Map the gradient by the result (T, H, W) to that by the maps (T, h, w)."""
        return self.rows.expand(len(grad), -1, -1) @ (grad @ self.columns.t())


def _sum(loss: PerImage, logits: Tensor, labels: Tensor) -> Tensor:
    logits = widened(logits)
    labelled = labels != IGNORED
    total: Tensor = _Sum.apply(logits, torch.where(labelled, labels, 0), labelled, loss)
    return total


class _Sum(torch.autograd.Function):
    """The sum over images of a loss of logits (B, T, h, w), resized to labels (B, H, W).

    The gradient is made with the loss: of what both need, nothing is computed twice or kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, labelled: Tensor, loss: PerImage) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        totals, grads = [], []
        with full_precision(logits.device.type):
            resize = Bilinear(logits.shape[-2:], index.shape[-2:], logits)
            for own, classes, known in zip(logits, index.unsqueeze(1), labelled.unsqueeze(1), strict=True):
                total, grad = loss(resize(own), classes, known, wanted)
                totals.append(total)
                if grad is not None:
                    grads.append(resize.back(grad))
        if wanted:
            ctx.save_for_backward(torch.stack(grads))
        return torch.stack(totals).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0] * grads[0], None, None, None


def _bce_of_all_pixels(x: Tensor, index: Tensor, labelled: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Compute BCE(x, y) = softplus(x) - x y for one-hot targets y that are never made; gradient sigmoid(x) - y."""
    return _bce(x, index, labelled, F.softplus(x).sum(), wanted)


def _bce_of_labelled(x: Tensor, index: Tensor, labelled: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Compute the same of the pixels with a label."""
    each = torch.where(labelled, F.softplus(x).sum(dim=0, keepdim=True), 0.0)
    total, grad = _bce(x, index, labelled, each.sum(), wanted)
    return total, None if grad is None else grad.mul_(labelled)


def _bce(x: Tensor, index: Tensor, labelled: Tensor, whole: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    total = whole - _at_labels(x, index, labelled)
    return total, _less_one(torch.sigmoid_(x), index, labelled) if wanted else None


def _ce(x: Tensor, index: Tensor, labelled: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Compute the cross-entropy of a softmax over the classes; gradient softmax(x) - y."""
    x = F.log_softmax(x, dim=0)
    total = -_at_labels(x, index, labelled)
    return total, _less_one(x.exp_(), index, labelled).mul_(labelled) if wanted else None


def _at_labels(x: Tensor, index: Tensor, labelled: Tensor) -> Tensor:
    return torch.where(labelled, x.gather(0, index), 0.0).sum()


def _less_one(grad: Tensor, index: Tensor, labelled: Tensor) -> Tensor:
    """Take one from ``grad`` (T, H, W), in place, at the label of each pixel."""
    return grad.scatter_(0, index, grad.gather(0, index) - labelled.to(grad.dtype))
