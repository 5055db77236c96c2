from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from repro.layers.losses import per_class_bce


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
