from __future__ import annotations

import math

import pytest
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


@pytest.mark.parametrize("excluded", [False, True])
def test_the_gradient_in_closed_form_is_that_of_the_targets_spelled_out(excluded: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.double)).requires_grad_()
    labels = torch.randint(0, 5, (2, 3, 4), generator=generator)
    labels[0, :2] = labels[1, 2, 3] = 255
    targets = torch.stack([labels == c for c in range(5)], dim=1).double()
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    spelled_out = each[(labels != 255).unsqueeze(1).expand_as(each)].mean() if excluded else each.mean()
    ours = per_class_bce(logits, labels, "excluded" if excluded else "zero_target")
    torch.testing.assert_close(ours, spelled_out)
    grads = [torch.autograd.grad(3 * total, logits)[0] for total in (ours, spelled_out)]
    torch.testing.assert_close(*grads)
    if excluded:
        assert not grads[0][0, :, :2].any()
