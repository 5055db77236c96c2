from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from repro.layers.selective_scan import (
    _kernel_scan,
    _recur,
    cuda_kernel,
    linear_recurrence,
    parallel_scan,
    selective_scan,
)

LENGTHS = [1, 2, 3, 7, 24, 60, 64, 577]


def recurrence(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The definition, place after place."""
    state = torch.zeros(*u.shape[:2], *a.shape[1:], dtype=u.dtype)
    outputs = []
    for t in range(u.shape[2]):
        step = delta[:, :, t, :, None]
        state = torch.exp(step * a) * state + step * b[:, :, t, None, :] * u[:, :, t, :, None]
        outputs.append((c[:, :, t, None, :] * state).sum(-1) + d * u[:, :, t])
    return torch.stack(outputs, dim=2)


def case(length: int, state: int = 2, batch: int = 2, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = torch.Generator().manual_seed(length)
    scans, channels = 3, 4

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)

    u, delta = draw(batch, scans, length, channels), F.softplus(draw(batch, scans, length, channels))
    b, c = draw(batch, scans, length, state), draw(batch, scans, length, state)
    args = [u, delta, -draw(scans, channels, state).exp(), b, c, draw(scans, channels)]
    return [t.requires_grad_() for t in args]


@pytest.mark.parametrize("length", LENGTHS)
def test_scan_equals_the_recurrence_forward_and_backward(length: int) -> None:
    args = case(length)
    weight = torch.randn(args[0].shape, dtype=torch.float64)
    expected, found = recurrence(*args), selective_scan(*args)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    wanted = torch.autograd.grad((expected * weight).sum(), args)
    given = torch.autograd.grad((found * weight).sum(), args)
    for one, other in zip(given, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_scan_passes_gradcheck() -> None:
    assert torch.autograd.gradcheck(selective_scan, case(11, batch=1))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("reverse", [False, True])
def test_factors_of_one_give_a_running_sum_and_factors_of_zero_the_input(length: int, reverse: bool) -> None:
    b = torch.randn(1, 2, length, 1, 3, dtype=torch.float64)
    total = b.flip(2).cumsum(2).flip(2) if reverse else b.cumsum(2)
    torch.testing.assert_close(linear_recurrence(torch.ones_like(b), b, reverse), total)
    assert torch.equal(linear_recurrence(torch.zeros_like(b), b, reverse), b)


def test_second_derivatives_are_refused() -> None:
    args = case(5)
    (gradient,) = torch.autograd.grad(selective_scan(*args).square().sum(), args[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


def test_forgetting_at_once_neither_overflows_nor_divides_by_zero() -> None:
    args = case(100, dtype=torch.float32)
    args[1] = (args[1].detach() * 1e4).requires_grad_()  # exp(delta a) is zero in float32
    y = selective_scan(*args)
    y.sum().backward()
    assert y.isfinite().all()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in args)


def test_half_precision_is_scanned_in_float32() -> None:
    args = [t.detach() for t in case(577, dtype=torch.bfloat16)]
    y = selective_scan(*args)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, selective_scan(*[t.float() for t in args]).bfloat16(), rtol=0, atol=0)


def test_a_place_sees_those_before_it_and_none_behind_it() -> None:
    args = case(40)
    y = selective_scan(*args)
    (gradient,) = torch.autograd.grad(y[:, :, 17].sum(), args[0])
    reached = gradient.abs().amax(dim=(0, 1, 3)) > 0
    assert reached.tolist() == [t <= 17 for t in range(40)]


def test_the_kernel_is_called_in_its_own_layout() -> None:
    """A stand-in with the contract of mamba_ssm: u (B, D, L), groups of channels share b and c (B, G, S, L)."""

    def kernel(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        assert all(t.is_contiguous() for t in (u, delta, b, c))
        share = u.shape[1] // b.shape[1]
        b, c = b.repeat_interleave(share, dim=1), c.repeat_interleave(share, dim=1)
        state = torch.zeros(*u.shape[:2], a.shape[1], dtype=u.dtype)
        outputs = []
        for t in range(u.shape[2]):
            state = torch.exp(delta[:, :, t, None] * a) * state + (delta * u)[:, :, t, None] * b[..., t]
            outputs.append((state * c[..., t]).sum(-1) + d * u[:, :, t])
        return torch.stack(outputs, dim=2)

    args = case(20)
    torch.testing.assert_close(_kernel_scan(kernel, *args), parallel_scan(*args), rtol=0, atol=1e-9)


@pytest.mark.gpu
def test_the_cuda_kernel_equals_the_parallel_scan() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if cuda_kernel() is None:
        pytest.skip("needs the package mamba_ssm")
    args = [t.detach().cuda().requires_grad_() for t in case(577, state=16, dtype=torch.float32)]
    found, expected = selective_scan(*args), parallel_scan(*args)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weight = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad((found * weight).sum(), args),
        torch.autograd.grad((expected * weight).sum(), args),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("reverse", [False, True])
@torch.no_grad()
def test_the_compiled_loop_and_the_chunks_of_torch_are_the_same_recurrence(length: int, reverse: bool) -> None:
    """Float32 goes through the loop, float64 does not; also where numbers do not lie one after another."""
    torch.manual_seed(length)
    a, b = torch.rand(2, 3, 2, length, 5).transpose(2, 3), torch.randn(2, 3, 2, length, 5).transpose(2, 3)
    found, expected = linear_recurrence(a, b, reverse), linear_recurrence(a.double(), b.double(), reverse)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    chunks = _recur(a.reshape(-1, length, 10), b.reshape(-1, length, 10), reverse).view_as(found)
    torch.testing.assert_close(found, chunks, rtol=1e-5, atol=1e-5)
    with FlopCounterMode(display=False):  # what is watched takes operators
        torch.testing.assert_close(linear_recurrence(a, b, reverse), chunks, rtol=0, atol=0)
