from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from baselines.logoseg.loss import masked_bce
from repro.layers.losses import Bilinear, per_class_bce, softmax_ce


def _case() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (2, 8, 6), generator=rng)
    labels[:, :3] = 255
    return torch.randn(2, 5, 8, 6, generator=rng) * 4, labels


def _one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    return F.one_hot(labels.clamp(max=classes), classes + 1)[..., :classes].permute(0, 3, 1, 2).float()


def test_unlabelled_pixels_count_as_all_zero_targets() -> None:
    logits, labels = _case()
    expected = F.binary_cross_entropy_with_logits(logits, _one_hot(labels, 5))
    torch.testing.assert_close(per_class_bce(logits, labels, "zero_target"), expected)


def test_excluded_pixels_leave_sum_and_count() -> None:
    logits, labels = _case()
    each = F.binary_cross_entropy_with_logits(logits, _one_hot(labels, 5), reduction="none")
    expected = each[(labels != 255).unsqueeze(1).expand_as(each)].mean()
    torch.testing.assert_close(per_class_bce(logits, labels, "excluded"), expected)
    other = logits.clone()
    other[:, :, :3] += 7
    torch.testing.assert_close(per_class_bce(other, labels, "excluded"), expected)


def test_a_crop_without_any_label_is_finite() -> None:
    logits, labels = _case()
    labels = torch.full_like(labels, 255)
    assert per_class_bce(logits, labels, "excluded") == 0
    torch.testing.assert_close(per_class_bce(torch.zeros(2, 5, 8, 6), labels, "zero_target"), torch.tensor(math.log(2)))


def test_logits_are_resized_to_the_labels() -> None:
    logits, labels = _case()
    small = F.avg_pool2d(logits, 2)
    resized = F.interpolate(small, size=(8, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(per_class_bce(small, labels, "excluded"), per_class_bce(resized, labels, "excluded"))


def _spelled_out(kind: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    full = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    if kind == "ce":
        return F.cross_entropy(full, labels, ignore_index=255)
    targets = torch.stack([labels == c for c in range(logits.shape[1])], dim=1).double()
    each = F.binary_cross_entropy_with_logits(full, targets, reduction="none")
    if kind == "zero_target":
        return each.mean()
    kept = each[(labels != 255).unsqueeze(1).expand_as(each)]
    return kept.mean() if kind == "excluded" else kept.mean() * logits.shape[1]


LOSSES = {
    "zero_target": lambda logits, labels: per_class_bce(logits, labels, "zero_target"),
    "excluded": lambda logits, labels: per_class_bce(logits, labels, "excluded"),
    "eq_13": masked_bce,
    "ce": softmax_ce,
}


@pytest.mark.parametrize("size", [(3, 4), (7, 12)])
@pytest.mark.parametrize("kind", LOSSES)
def test_loss_and_gradient_in_closed_form_are_those_of_the_loss_spelled_out(kind: str, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.double)).requires_grad_()
    labels = torch.randint(0, 5, (2, *size), generator=generator)
    labels[0, :2] = labels[1, 2, 3] = 255
    spelled_out, ours = _spelled_out(kind, logits, labels), LOSSES[kind](logits, labels)
    torch.testing.assert_close(ours, spelled_out, rtol=1e-12, atol=0)
    grads = [torch.autograd.grad(3 * total, logits)[0] for total in (ours, spelled_out)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-14)
    if kind != "zero_target" and size == (3, 4):
        assert not grads[0][0, :, :2].any()


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_of_bfloat16_logits_is_computed_in_float32_under_autocast_too(kind: str) -> None:
    logits, labels = _case()
    small = F.avg_pool2d(logits, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[kind](small, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[kind](small.float(), labels), rtol=0, atol=0)


@pytest.mark.parametrize("after", [(8, 6), (5, 9), (2, 3)])
def test_resizing_by_matrices_is_bilinear_interpolation_both_ways(after: tuple[int, int]) -> None:
    maps = torch.randn(3, 4, 3, dtype=torch.double, requires_grad=True)
    expected = F.interpolate(maps.unsqueeze(0), size=after, mode="bilinear", align_corners=False)[0]
    resize = Bilinear((4, 3), after, maps)
    torch.testing.assert_close(resize(maps), expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(expected)
    torch.testing.assert_close(resize.back(grad), torch.autograd.grad(expected, maps, grad)[0], rtol=1e-12, atol=1e-12)
