"""Control (a): a method learns a handful of images by heart, or its parts do not fit together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.cost_volume import cosine_cost
from repro.layers.losses import IGNORED
from repro.methods.interface import Method
from repro.metrics.maps import detect, pixels_by_token
from repro.training.optim import build_optimizer
from repro.training.settings import TrainSettings


@dataclasses.dataclass(frozen=True)
class Overfit:
    """What a method made of the images it was shown again and again; fractions."""

    accuracy: float
    """Labelled pixels whose class is right, among the classes of all the images."""
    shown: float
    """Labelled pixels that a map of the method's size can show (:func:`showable`)."""
    shown_accuracy: float
    """Those of them whose class is right."""
    map_ap: float
    """Average precision of pixels by the scores of each class in an image, mean over image and class."""
    cosine_ap: float
    """The same by the tower's own cosine, before the training."""
    chance_ap: float
    """The same by a random ranking: the share of the class."""
    steps: int


def overfit(
    method: Method,
    images: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    settings: TrainSettings,
    steps: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Overfit:
    """Train ``method`` on ``images`` (B, 3, S, S), 0..255, and ``labels`` (B, S, S) for ``steps`` steps of one batch.

    ``classes`` are those that occur; nothing is augmented. Rate, clipping and batch of ``settings``, without decay; the
    rate falls along a half cosine. Deterministic on a CPU under the global generator.
    """
    device = next(method.parameters()).device
    images, labels = images.to(device).float(), labels.to(device).long()
    cosine = _cosine(method, images, classes)
    method.train()
    optimizer = build_optimizer(method, dataclasses.replace(settings, weight_decay=0.0))
    start = [group["lr"] for group in optimizer.param_groups]
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    batch = min(settings.batch_size, len(images))
    order = torch.randperm(len(images))
    for step in range(steps):
        if step * batch % len(images) < batch:
            order = torch.randperm(len(images))
        chosen = order.roll(-step * batch)[:batch]
        share = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item())
        for group, lr in zip(optimizer.param_groups, start, strict=True):
            group["lr"] = lr * share
        losses = method.loss(images[chosen], labels[chosen], classes)
        optimizer.zero_grad()
        torch.stack([v for k, v in losses.items() if k.startswith("loss")]).sum().backward()
        if settings.clip_grad_norm:
            torch.nn.utils.clip_grad_norm_(trained, settings.clip_grad_norm)
        optimizer.step()
        progress(step + 1, steps)
    method.eval()
    with torch.no_grad():
        scores = torch.cat([method.scores(image.unsqueeze(0), classes) for image in images])
    full = F.interpolate(scores, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    right, known = full.argmax(dim=1) == labels, labels != IGNORED
    shown = showable(labels, len(classes), (scores.shape[2], scores.shape[3]))
    return Overfit(
        float(right[known].float().mean()),
        float(shown[known].float().mean()),
        float(right[shown].float().mean()),
        map_ap(full, labels),
        map_ap(cosine, labels),
        chance_ap(labels),
        steps,
    )


def showable(labels: Tensor, classes: int, size: tuple[int, int]) -> Tensor:
    """Find the pixels (B, H, W) that a map of ``size`` shows for certain: labelled ones in cells of a single class.

    In a cell of several classes what is thinner than it, or lies in its corner, is lost however well a method has
    learned it, and how much of it depends on how sure the neighbours are.
    """
    shares = F.one_hot(labels.clamp(max=classes), classes + 1)[..., :classes].permute(0, 3, 1, 2).double()
    held = (F.adaptive_avg_pool2d(shares, size) > 0).sum(dim=1, keepdim=True).double()
    single = F.interpolate(held, size=labels.shape[-2:], mode="nearest-exact").squeeze(1) == 1
    return single & (labels != IGNORED)


@torch.no_grad()
def _cosine(method: Method, images: Tensor, classes: Sequence[str]) -> Tensor:
    method.eval()
    clip = method.get_submodule("clip")
    text = clip.text(classes, "A photo of a {}")  # type: ignore[operator]
    return cosine_cost(clip.dense(images).map, text[None, :, None]).squeeze(1)  # type: ignore[operator]


def map_ap(maps: Tensor, labels: Tensor) -> float:
    """Return the mean average precision of pixels over (image, class in it): maps (B, N, h, w), labels (B, H, W)."""
    found: list[float] = []
    for own, label in zip(maps.double().cpu().numpy(), labels.cpu().numpy(), strict=True):
        tokens = pixels_by_token(label, len(own), own.shape[1:])
        labelled = tokens[:, :-1].sum(axis=1)
        present = [c for c in range(len(own)) if tokens[:, c].any()]
        found += [detect(own[c].ravel(), tokens[:, c], labelled).average_precision for c in present]
    return sum(found) / len(found)


def chance_ap(labels: Tensor) -> float:
    """Return the same for a random ranking."""
    shares: list[float] = []
    for label in labels:
        counts = torch.bincount(label[label != IGNORED])
        shares += (counts[counts > 0] / counts.sum()).tolist()
    return sum(shares) / len(shares)
