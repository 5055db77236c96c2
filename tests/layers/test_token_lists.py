"""Compiled attention within lists against the same written out in float64, and where it is not taken."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from disa import pixelwise
from disa.pixelwise import Divided, refine_branches
from disa.selection import most_salient
from repro.layers import compiled_attention, token_lists, window_attention
from repro.layers.token_lists import attend, compiled, lists_of
from repro.layers.window_attention import GuidedSwinPair


def pair(grid: int, window: int, masked: float = window_attention.MASKED) -> GuidedSwinPair:
    return GuidedSwinPair(dim=32, guidance_dim=6, heads=2, grid=grid, window=window, masked=masked)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call of the compiled attention gave a result, in order."""
    calls: list[bool] = []

    def watched(*args: Any) -> Tensor | None:
        result = attend(*args)
        calls.append(result is not None)
        return result

    monkeypatch.setattr(window_attention, "attend", watched)
    monkeypatch.setattr(pixelwise, "attend", watched)
    return calls


def test_lists_hold_the_tokens_of_equal_number_in_order() -> None:
    members, starts = lists_of(torch.tensor([2, 0, 2, 3, 0, 2]), 5)
    assert members.tolist() == [1, 4, 0, 2, 5, 3]
    assert starts.tolist() == [0, 2, 2, 5, 6, 6]
    number = torch.randint(0, 40, (3000,), generator=torch.Generator().manual_seed(0))
    members, starts = lists_of(number, 40)
    assert torch.equal(members, number.argsort(stable=True))
    assert starts[-1] == len(number)


@pytest.mark.parametrize("width", [16, 48])
@pytest.mark.parametrize("sharpness", [1.0, 40.0])
def test_each_token_sees_its_own_list(width: int, sharpness: float) -> None:
    """Lists of one token, fewer than a vector, one vector, one more, several; guidance is added first."""
    torch.manual_seed(0)
    heads, sizes = 2, [1, 7, 16, 17, 40, 0, 144]
    number = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))[torch.randperm(sum(sizes))]
    qkv, guidance = torch.randn(len(number), 3 * heads * width), torch.randn(5, 3 * heads * width)
    qkv[:, : 2 * heads * width] *= sharpness**0.5
    place = torch.randint(5, (len(number),))
    whole = (qkv + guidance[place]).double().view(len(number), 3, heads, width)
    with torch.inference_mode():
        found = attend(qkv.clone(), guidance, place, lists_of(number, len(sizes)), heads)
    assert found is not None
    for i in range(len(sizes)):
        q, k, v = whole[number == i].permute(1, 2, 0, 3)
        expected = ((q @ k.transpose(1, 2) / width**0.5).softmax(-1) @ v).transpose(0, 1).flatten(1)
        torch.testing.assert_close(found[number == i].double(), expected, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize(("grid", "window"), [(6, 3), (8, 4), (4, 12)])
@pytest.mark.parametrize("masked", [window_attention.MASKED, -torch.inf])
@torch.no_grad()
def test_a_pair_of_blocks_by_lists_equals_float64_by_windows(
    grid: int, window: int, masked: float, taken: list[bool]
) -> None:
    torch.manual_seed(0)
    module = pair(grid, window, masked)
    x, guidance = torch.randn(2, 3, grid * grid, 32), torch.randn(2, grid * grid, 6)
    found = module(x, guidance)
    assert taken == [True, True]
    expected = copy.deepcopy(module).double()(x.double(), guidance.double())
    assert len(taken) == 2  # float64 runs by windows
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
@torch.no_grad()
def test_branches_by_lists_equal_float64_by_windows(share: float, sharp: bool, taken: list[bool]) -> None:
    """Where scores are so far apart that -100 does not hide a token, it is computed with the mask as before."""
    torch.manual_seed(0)
    front, back = pair(8, 4), pair(8, 4)
    for block in (front.block_2, back.block_2):
        for projection in (block.attn.q, block.attn.k):
            projection.weight.mul_(25 if sharp else 1)
    k = round(share * 64)
    mask = most_salient(torch.rand(2, 3, 64), k)
    x, guidance = torch.randn(2, 3, 64, 32), torch.randn(2, 64, 6)

    def run(front: GuidedSwinPair, back: GuidedSwinPair, x: Tensor, guidance: Tensor) -> Divided:
        return refine_branches(front, back, x, mask, k, front.guide(guidance), back.guide(guidance))

    found = run(front, back, x, guidance).joined()
    assert taken == [True, not sharp]
    expected = run(copy.deepcopy(front).double(), copy.deepcopy(back).double(), x.double(), guidance.double()).joined()
    torch.testing.assert_close(found.double(), expected, rtol=1e-3 if sharp else 1e-5, atol=1e-3 if sharp else 1e-5)


def test_a_leak_is_taken_for_nothing_only_where_it_is_negligible() -> None:
    """Of scores that are at most 2 |q| |k| / sqrt(16) apart, -100 hides those of less than 70."""
    lists, place = lists_of(torch.zeros(4, dtype=torch.long), 1), torch.zeros(4, dtype=torch.long)
    for length, hidden in ((11.8, True), (11.9, False)):
        qkv = torch.zeros(4, 48)
        qkv[:, 0] = qkv[:, 16] = length
        with torch.inference_mode():
            assert (attend(qkv, torch.zeros(1, 48), place, lists, 1, -100.0) is not None) == hidden
    assert token_lists.NEGLIGIBLE == 30


def test_what_is_watched_recorded_or_in_another_type_is_not_compiled() -> None:
    class Watch(TorchDispatchMode):
        pass

    x = torch.zeros(2, 32)
    assert not compiled(x, 16)
    with torch.no_grad():
        assert compiled(x, 16)
        assert not compiled(x, 8)
        assert not compiled(x.double(), 16)
        with torch.autocast("cpu", torch.bfloat16):
            assert not compiled(x, 16)
        with Watch():
            assert not compiled(x, 16)


def test_heads_are_taken_by_the_width_of_the_compiled_vectors() -> None:
    assert token_lists.LANES == compiled_attention.LANES  # said twice: to import the loops takes seconds
