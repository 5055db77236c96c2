from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repro.layers import compiled_points
from repro.layers.points import to_points


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sides of the maps that loops go back through."""
    sides: list[int] = []
    loops = compiled_points.points_back

    def watched(x: Any, side: int, *rest: Any) -> None:
        sides.append(side)
        loops(x, side, *rest)

    monkeypatch.setattr(compiled_points, "points_back", watched)
    return sides


def gradients(x: Tensor, head: nn.Conv2d, grad: Tensor, *, by_loops: bool = True) -> list[Tensor]:
    x = x.detach().requires_grad_()
    points = to_points(x, head) if by_loops else head(x)
    return [points.detach(), *torch.autograd.grad(points, [x, *head.parameters()], grad)]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("count", "channels", "side"), [(1, 16, 4), (3, 32, 8), (2, 48, 12)])
def test_the_loops_equal_float64(
    count: int, channels: int, side: int, layout: torch.memory_format, taken: list[int]
) -> None:
    """Places at the border read zeros; the kernel is no mirror image of itself."""
    torch.manual_seed(0)
    head = nn.Conv2d(channels, 1, 3, padding=1)
    x, grad = (
        torch.randn(count, channels, side, side).contiguous(memory_format=layout),
        torch.randn(count, 1, side, side),
    )
    found = gradients(x, head, grad)
    assert taken == [side]
    expected = gradients(x.double(), copy.deepcopy(head).double(), grad.double(), by_loops=False)
    for own, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(own.double(), exact, rtol=1e-5, atol=1e-5)


def test_a_gradient_of_another_layout_is_read_as_it_lies(taken: list[int]) -> None:
    head, x = nn.Conv2d(16, 1, 3, padding=1), torch.randn(2, 16, 8, 8)
    grad = torch.randn(2, 1, 8, 8)
    mirrored = grad.flip(3).transpose(2, 3).contiguous().transpose(2, 3).flip(3)
    for own, same in zip(gradients(x, head, grad), gradients(x, head, mirrored), strict=True):
        torch.testing.assert_close(own, same, rtol=0, atol=0)
    assert taken == [8, 8]


@pytest.mark.parametrize(
    ("channels", "height", "width", "dtype"),
    [(16, 8, 12, torch.float32), (12, 8, 8, torch.float32), (16, 6, 6, torch.float32), (16, 8, 8, torch.float64)],
    ids=["not square", "other channels", "other sides", "float64"],
)
def test_what_does_not_fit_is_left_to_torch(
    channels: int, height: int, width: int, dtype: torch.dtype, taken: list[int]
) -> None:
    head, x = nn.Conv2d(channels, 1, 3, padding=1).to(dtype), torch.randn(2, channels, height, width, dtype=dtype)
    grad = torch.randn(2, 1, height, width, dtype=dtype)
    for own, same in zip(gradients(x, head, grad), gradients(x, head, grad, by_loops=False), strict=True):
        torch.testing.assert_close(own, same, rtol=0, atol=0)
    assert not taken


def test_what_is_no_number_is_not_hidden() -> None:
    head, x, grad = nn.Conv2d(16, 1, 3, padding=1), torch.zeros(1, 16, 8, 8), torch.zeros(1, 1, 8, 8)
    x[0, 3, 4, 4] = grad[0, 0, 2, 2] = torch.nan
    points, to_x, to_weight, to_bias = gradients(x, head, grad)
    assert points.isnan().sum() == to_x.isnan().any(dim=1).sum() == 9  # the places around
    assert to_weight.isnan().all()
    assert to_bias.isnan().all()


def test_a_second_derivative_is_refused() -> None:
    head, x = nn.Conv2d(16, 1, 3, padding=1), torch.randn(1, 16, 4, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(to_points(x, head).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
