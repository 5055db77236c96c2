"""RoIAlign against recorded values of torchvision's and against a loop over its samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from repro.metrics.regions.roi_align import roi_align


def one(maps: Tensor, boxes: list[tuple[float, ...]]) -> Tensor:
    """Features of boxes in places of a single map."""
    height, width = maps.shape[-2:]
    return roi_align(maps, torch.tensor([boxes]) / torch.tensor([width, height, width, height]))[0]


def test_recorded_values_of_torchvision() -> None:
    rows, columns = torch.arange(8.0)[:, None], torch.arange(8.0)
    maps = torch.sin(8 * rows + columns)[None, None]
    boxes = [(0, 0, 8 / 3, 2), (8 / 3, 2, 16 / 3, 4), (0, 0, 8, 8), (5.3, 1.2, 6.1, 7.7), (6, 6, 8, 8)]
    expected = [0.468490, 0.436058, 0.001509, 0.044529, -0.532592]
    torch.testing.assert_close(one(maps, boxes)[:, 0], torch.tensor(expected), atol=1e-6, rtol=0)


def interpolated(values: Tensor, y: float, x: float) -> Tensor:
    """One bilinear sample of (C, h, w): 0 farther than a place outside, else the nearest edge's."""
    height, width = values.shape[-2:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(values))
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    corner = values[:, top : top + 2, left : left + 2]
    down, right = y - top, x - left
    weights = torch.tensor([[(1 - down) * (1 - right), (1 - down) * right], [down * (1 - right), down * right]])
    return (corner * weights).sum(dim=(1, 2))


def looped(values: Tensor, box: Tensor) -> Tensor:
    x1, y1, x2, y2 = (box.double() - 0.5).tolist()
    rows, columns = math.ceil(y2 - y1), math.ceil(x2 - x1)
    samples = [
        interpolated(values, y1 + (i + 0.5) * (y2 - y1) / rows, x1 + (j + 0.5) * (x2 - x1) / columns)
        for i in range(rows)
        for j in range(columns)
    ]
    return torch.stack(samples).mean(dim=0)


def test_equals_a_loop_over_samples_inside_across_and_outside_of_the_map() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 7, 9)
    corner, extent = torch.rand(2, 12, 2) * 11 - 2, torch.rand(2, 12, 2) * 8
    boxes = torch.cat([corner, corner + extent], dim=-1)
    ours = roi_align(maps, boxes / torch.tensor([9.0, 7.0, 9.0, 7.0]))
    expected = torch.stack([torch.stack([looped(m, b) for b in part]) for m, part in zip(maps, boxes, strict=True)])
    torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("width", "samples"), [(8.0, 8), (8.000002, 9)])
def test_a_hair_more_width_takes_another_sample(width: float, samples: int) -> None:
    ramp = torch.arange(16.0).expand(1, 1, 16, 16) ** 2
    places = (torch.arange(samples) + 0.5) * width / samples - 0.5 + 2
    low = places.floor()
    expected = (low**2 + (places - low) * ((low + 1) ** 2 - low**2)).mean()
    torch.testing.assert_close(one(ramp, [(2, 2, 2 + width, 5)])[0, 0], expected, atol=1e-4, rtol=0)


def test_a_box_without_extent_has_no_feature_and_a_gradient_of_zero() -> None:
    maps = torch.randn(1, 3, 4, 4, requires_grad=True)
    features = roi_align(maps, torch.zeros(1, 2, 4))
    assert (features == 0).all()
    features.sum().backward()
    assert maps.grad is not None
    assert (maps.grad == 0).all()
