"""Layers in compiled loops against the same by torch's operators, at the miniature's sizes and at published ones."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from in_turn import times_faster
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from baselines.synseg import decoder as synseg
from repro.layers import class_attention, decoder, points, window_attention

SIZES = pytest.mark.parametrize(
    ("classes", "grid", "dim", "heads", "ratio", "at_least"),
    [(128, 8, 32, 2, 2.0, 1.2), (12, 24, 128, 4, 4.0, 1.1)],
    ids=["miniature", "published"],
)


def by_torch(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """``work`` without the compiled loops."""

    def run() -> Tensor:
        with (
            patch.object(window_attention, "compiled", return_value=False),
            patch.object(synseg, "compiled", return_value=False),
            patch.object(decoder, "takes", return_value=False),
            patch.object(class_attention, "serves", return_value=False),
            patch.object(points, "serves", return_value=False),
        ):
            return work()

    return run


def compare(
    benchmark: BenchmarkFixture, module: nn.Module, inputs: tuple[Tensor | list[Tensor], ...], at_least: float
) -> None:
    def work() -> Tensor:
        with torch.no_grad():
            found: Tensor = module(*inputs)
            return found

    times_faster(benchmark, work, by_torch(work), at_least=at_least)


@SIZES
def test_windows(
    benchmark: BenchmarkFixture, classes: int, grid: int, dim: int, heads: int, ratio: float, at_least: float
) -> None:
    """1.7 and 1.4 times."""
    swin = window_attention.GuidedSwinPair(dim, 8, heads, grid, grid // 2, ratio)
    compare(benchmark, swin, (torch.randn(1, classes, grid**2, dim), torch.randn(1, grid**2, 8)), at_least)


@SIZES
def test_class_attention(
    benchmark: BenchmarkFixture, classes: int, grid: int, dim: int, heads: int, ratio: float, at_least: float
) -> None:
    """1.5 and 1.7 times."""
    layer = class_attention.LinearClassAttention(dim, 8, heads, 0, ratio)
    compare(benchmark, layer, (torch.randn(1, classes, grid**2, dim), torch.randn(1, classes, 8)), at_least)


@pytest.mark.parametrize(
    ("classes", "grid", "dim", "dims", "at_least"),
    [(128, 8, 32, (16,), 1.2), (12, 24, 128, (64, 32), 0.95)],
    ids=["miniature", "published"],
)
def test_decoder(
    benchmark: BenchmarkFixture, classes: int, grid: int, dim: int, dims: tuple[int, ...], at_least: float
) -> None:
    """1.6 and 1.2 times."""
    guidance = [torch.randn(1, 8, grid * 2**i, grid * 2**i) for i in range(1, len(dims) + 1)]
    module = decoder.CostDecoder(dim, dims, [8] * len(dims), grid)
    compare(benchmark, module, (torch.randn(1, classes, grid**2, dim), guidance), at_least)


def test_layer_of_synseg(benchmark: BenchmarkFixture) -> None:
    """1.8 times."""
    compare(benchmark, synseg.DecoderLayer(32, 2, 64), (torch.randn(256, 64, 32),), 1.3)


def compare_gradients(
    benchmark: BenchmarkFixture, module: nn.Module, inputs: tuple[Tensor, ...], at_least: float
) -> None:
    inputs = tuple(tensor.requires_grad_() for tensor in inputs)

    def work() -> Tensor:
        module.zero_grad()
        found: Tensor = module(*inputs)
        found.backward(torch.ones_like(found))
        return found

    times_faster(benchmark, work, by_torch(work), at_least=at_least)


@pytest.mark.parametrize(
    ("classes", "grid", "dim", "heads", "ratio", "at_least"),
    [(160, 8, 32, 1, 2.0, 1.2), (12, 24, 128, 4, 4.0, 1.0)],
    ids=["miniature", "published"],
)
def test_windows_with_their_gradient(
    benchmark: BenchmarkFixture, classes: int, grid: int, dim: int, heads: int, ratio: float, at_least: float
) -> None:
    """1.4 and 1.3 times."""
    swin = window_attention.GuidedSwinPair(dim, 8, heads, grid, grid // 2, ratio)
    compare_gradients(benchmark, swin, (torch.randn(1, classes, grid**2, dim), torch.randn(1, grid**2, 8)), at_least)


def test_layer_of_synseg_with_its_gradient(benchmark: BenchmarkFixture) -> None:
    """1.5 times."""
    compare_gradients(benchmark, synseg.DecoderLayer(32, 2, 64), (torch.randn(256, 64, 32),), 1.2)


@pytest.mark.parametrize(("count", "channels", "side"), [(160, 16, 16), (16, 32, 96)], ids=["miniature", "published"])
def test_the_last_convolution_with_its_gradient(
    benchmark: BenchmarkFixture, count: int, channels: int, side: int
) -> None:
    """4 and 5 times."""
    head, grad = nn.Conv2d(channels, 1, 3, padding=1), torch.randn(count, 1, side, side)
    x = torch.randn(count, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()

    def work() -> Tensor:
        found = points.to_points(x, head)
        found.backward(grad)
        return found

    times_faster(benchmark, work, by_torch(work), at_least=1.5)
