"""Parts on all cores: the same values as one after another, in the caller's modes, errors included."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from repro.layers import tokens
from repro.layers.class_attention import LinearClassAttention
from repro.layers.parallel import each, even_step, serial, threads
from repro.layers.tokens import per_class
from repro.layers.window_attention import GuidedSwinPair

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


def test_parts_run_at_once_in_threads_of_one_and_come_back_in_order() -> None:
    together = threading.Barrier(3, timeout=120)  # passed only when three calls are under way at once

    def part(i: int) -> tuple[int, int]:
        together.wait()
        return i, torch.get_num_threads()

    assert each(part, 6, CPU) == [(i, 1) for i in range(6)]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("inference", [True, False])
def test_the_modes_of_the_caller_hold_in_every_part(inference: bool) -> None:
    x = torch.ones(2, 2)

    def part(_: int) -> Tensor:
        return x @ x

    with torch.inference_mode(inference), torch.autocast("cpu", dtype=torch.bfloat16):
        made = each(part, 4, CPU)
    assert {(m.dtype, m.is_inference()) for m in made} == {(torch.bfloat16, inference)}
    assert not any(m.requires_grad for m in made)
    assert each(part, 4, CPU)[3].dtype == torch.float32


def test_an_error_of_a_part_is_raised_and_the_threads_go_on_working() -> None:
    def part(i: int) -> int:
        if i == 2:
            raise ValueError("part 2")
        return i

    with pytest.raises(ValueError, match="part 2"):
        each(part, 5, CPU)
    assert each(lambda i: i, 5, CPU) == list(range(5))


def test_one_after_another_where_threads_would_change_what_is_seen() -> None:
    assert threads(CPU) == 3
    assert threads(torch.device("cuda")) == threads(torch.device("meta")) == 1
    with torch.enable_grad():
        assert threads(CPU) == 1
    with serial():
        assert threads(CPU) == 1
    with FlopCounterMode(display=False) as counted:
        each(lambda _: torch.ones(4, 4) @ torch.ones(4, 4), 5, CPU)
    assert counted.get_total_flops() == 5 * 2 * 4**3
    assert each(lambda _: threads(CPU), 4, CPU) == [1] * 4  # parts of parts start no threads


@pytest.mark.parametrize(
    ("total", "step", "expected"), [(150, 14, 13), (3, 14, 1), (2, 14, 1), (1, 9, 9), (171, 57, 57)]
)
def test_steps_are_even_over_the_threads(total: int, step: int, expected: int) -> None:
    assert even_step(total, step, CPU) == expected
    with serial():
        assert even_step(total, step, CPU) == step


@pytest.mark.parametrize("images", [1, 2])
def test_layers_in_parts_equal_the_whole(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(images, 11, 36, 16, dtype=torch.float64)
    swin = GuidedSwinPair(16, 8, heads=2, grid=6, window=3).double()
    among = LinearClassAttention(16, 8, heads=2, pad_len=16).double()
    places, words = torch.randn(images, 36, 8, dtype=torch.float64), torch.randn(1, 11, 8, dtype=torch.float64)
    whole = swin(x, places), among(x, words)
    monkeypatch.setattr(tokens, "CHUNK_ELEMENTS", 2 * 36 * 16)
    for part, expected in zip((swin(x, places), among(x, words)), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-12)


def test_values_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CHUNK_ELEMENTS", 4 * 9)
    x, weight = torch.randn(2, 12, 4, 9), torch.randn(9, 9)

    def layer(part: Tensor, shared: Tensor) -> Tensor:
        return part @ shared

    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(per_class(layer, x, lambda _: weight))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
