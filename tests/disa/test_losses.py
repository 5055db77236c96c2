from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from disa.losses import matching_labels, matching_loss, matching_metrics, segmentation_loss


def test_cross_entropy_is_over_labelled_pixels_at_label_resolution() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 4, 3, 3), torch.randint(0, 4, (2, 9, 9))
    labels[:, :3] = 255
    full = F.interpolate(logits, size=(9, 9), mode="bilinear").log_softmax(dim=1)
    values = [
        -full[b, labels[b, i, j], i, j] for b in range(2) for i in range(9) for j in range(9) if labels[b, i, j] != 255
    ]
    torch.testing.assert_close(segmentation_loss(logits, labels, "ce"), torch.stack(values).mean())


@pytest.mark.parametrize("kind", ["ce", "bce"])
def test_a_crop_without_a_label_has_no_loss(kind: str) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255), kind)  # type: ignore[arg-type]
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_a_class_matches_where_it_labels_a_pixel() -> None:
    labels = torch.tensor([[[0, 0], [2, 255]], [[255, 255], [255, 255]], [[3, 1], [1, 3]]])
    assert matching_labels(labels, 5).tolist() == [[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0]]


def test_matching_loss_is_the_mean_over_all_pairs() -> None:
    torch.manual_seed(0)
    logits, matched = torch.randn(2, 3, 2), torch.tensor([[1, 0, 0], [0, 1, 1]])
    values = [-math.log(logits[b, n].softmax(-1)[matched[b, n]]) for b in range(2) for n in range(3)]
    assert float(matching_loss(logits, matched)) == pytest.approx(sum(values) / 6, rel=1e-5)


def test_average_precision_is_the_mean_precision_at_the_hits() -> None:
    torch.manual_seed(0)
    score, matched = torch.randn(40), torch.rand(40) < 0.3
    logits = torch.stack([-score / 2, score / 2], dim=-1).view(2, 20, 2)
    order = sorted(range(40), key=lambda i: -float(score[i]))
    precisions = [
        sum(bool(matched[j]) for j in order[: rank + 1]) / (rank + 1) for rank, i in enumerate(order) if matched[i]
    ]
    found = matching_metrics(logits, matched.view(2, 20).long())
    assert float(found["itm_ap"]) == pytest.approx(sum(precisions) / len(precisions))
    assert float(found["itm_accuracy"]) == pytest.approx(float(((score > 0) == matched).float().mean()))


def test_average_precision_without_a_hit_is_no_number() -> None:
    assert matching_metrics(torch.randn(1, 3, 2), torch.zeros(1, 3, dtype=torch.long))["itm_ap"].isnan()


def test_deterministic_kernels_compute_the_same_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 8, 8, requires_grad=True), torch.randint(0, 5, (2, 16, 16))
    labels[0, :4] = 255
    fused = segmentation_loss(logits, labels, "ce")
    (usual,) = torch.autograd.grad(fused, logits)
    torch.use_deterministic_algorithms(True)
    try:
        loss = segmentation_loss(logits, labels, "ce")
        (other,) = torch.autograd.grad(loss, logits)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.allclose(loss, fused, rtol=1e-5)
    assert torch.allclose(other, usual, rtol=1e-4, atol=1e-7)
