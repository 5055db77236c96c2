"""The parallel selective scan against the recurrence as a loop. Run: pytest tests/speed --benchmark-only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from in_turn import times_faster
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from repro.layers.selective_scan import selective_scan

PLACES, DIRECTIONS, CHANNELS, STATE = 576, 4, 128, 1
"""The fused map of the paper, 24 x 24 places, and the state size of SS2D."""


def recurrence(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The definition, place after place, all directions and channels at once."""
    state = torch.zeros(*u.shape[:2], *a.shape[1:])
    outputs = []
    for t in range(u.shape[2]):
        step = delta[:, :, t, :, None]
        state = torch.exp(step * a) * state + step * b[:, :, t, None, :] * u[:, :, t, :, None]
        outputs.append((c[:, :, t, None, :] * state).sum(-1) + d * u[:, :, t])
    return torch.stack(outputs, dim=2)


def tuned_recurrence(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The same with everything outside of the loop that can be."""
    decay = torch.exp(delta.unsqueeze(-1) * a.unsqueeze(1)).unbind(2)
    drive = ((delta * u).unsqueeze(-1) * b.unsqueeze(-2)).unbind(2)
    state = torch.zeros_like(drive[0])
    states = []
    for decay_t, drive_t in zip(decay, drive, strict=True):
        state = decay_t * state + drive_t
        states.append(state)
    return (torch.stack(states, dim=2) * c.unsqueeze(-2)).sum(-1) + d.unsqueeze(1) * u


def inputs() -> list[Tensor]:
    torch.manual_seed(0)
    u, delta = torch.randn(2, 1, DIRECTIONS, PLACES, CHANNELS).unbind(0)
    b, c = torch.randn(2, 1, DIRECTIONS, PLACES, STATE).unbind(0)
    a, d = -torch.rand(DIRECTIONS, CHANNELS, STATE), torch.randn(DIRECTIONS, CHANNELS)
    return [t.clone().requires_grad_() for t in (u, F.softplus(delta), a, b, c, d)]


@pytest.mark.parametrize(("loop", "at_least"), [(recurrence, 10), (tuned_recurrence, 1)], ids=["written", "tuned"])
@pytest.mark.parametrize("part", ["forward", "training step"])
def test_parallel_scan_is_faster_than_the_recurrence_as_a_loop(
    benchmark: BenchmarkFixture, part: str, loop: Callable[..., Tensor], at_least: float
) -> None:
    """By the clock on the wall, on all cores: the loop takes 8 to 10 times as long forward on one thread, 20 on two."""
    torch.set_num_threads(os.cpu_count() or 1)
    args = inputs()

    def run(scan: Callable[..., Tensor]) -> None:
        if part == "forward":
            with torch.no_grad():
                scan(*args)
        else:
            torch.autograd.grad(scan(*args).sum(), args)

    times_faster(
        benchmark, lambda: run(selective_scan), lambda: run(loop), at_least, rounds=10, clock=time.perf_counter
    )
