from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from repro.layers.window_attention import GuidedSwinPair, GuidedWindowBlock, shift_mask


def _published_block(block: GuidedWindowBlock, x: Tensor, g: Tensor, grid: int, window: int, shift: int) -> Tensor:
    """One class map (B, L, C) through the block as the paper's code states it: roll, partition, softmax, reverse."""
    b, _, c = x.shape
    heads, head_dim, count = block.heads, c // block.heads, grid // window

    def partition(t: Tensor) -> Tensor:
        t = t.view(b, grid, grid, -1).roll((-shift, -shift), (1, 2))
        return t.view(b, count, window, count, window, -1).transpose(2, 3).reshape(b * count**2, window**2, -1)

    y = partition(torch.cat([block.norm1(x), g], dim=-1))
    value = y[..., :c]
    q, k, v = block.attn.q(y), block.attn.k(y), block.attn.v(value)
    q, k, v = (t.view(*t.shape[:2], heads, head_dim).transpose(1, 2) for t in (q, k, v))
    scores = q * head_dim**-0.5 @ k.transpose(-1, -2)
    if shift:
        label = torch.zeros(grid, grid)
        for i, rows in enumerate((slice(0, -window), slice(-window, -shift), slice(-shift, None))):
            for j, columns in enumerate((slice(0, -window), slice(-window, -shift), slice(-shift, None))):
                label[rows, columns] = 3 * i + j
        parts = label.view(count, window, count, window).transpose(1, 2).reshape(count**2, window**2)
        mask = (parts[:, None] != parts[:, :, None]) * -100.0
        scores = (scores.view(b, count**2, heads, *scores.shape[2:]) + mask[None, :, None]).view(scores.shape)
    mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    mixed = mixed.view(b, count, count, window, window, c).transpose(2, 3).reshape(b, grid, grid, c)
    x = x + block.proj(mixed.roll((shift, shift), (1, 2)).view(b, -1, c))
    return x + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(x))))


@pytest.mark.parametrize(("grid", "window", "shift"), [(6, 3, 1), (8, 4, 2), (4, 4, 0), (4, 12, 0)])
@pytest.mark.parametrize("recording", [True, False])
def test_pair_equals_roll_partition_reverse(grid: int, window: int, shift: int, recording: bool) -> None:
    torch.manual_seed(0)
    pair = GuidedSwinPair(dim=8, guidance_dim=6, heads=2, grid=grid, window=window)
    x, guidance = torch.randn(2, 3, grid * grid, 8), torch.randn(2, grid * grid, 6)
    with torch.set_grad_enabled(recording):
        result = pair(x, guidance)
    g = pair.guidance_norm(guidance)
    for index in range(3):
        window_ = min(window, grid)
        expected = _published_block(pair.block_1, x[:, index], g, grid, window_, 0)
        expected = _published_block(pair.block_2, expected, g, grid, window_, shift)
        torch.testing.assert_close(result[:, index], expected, rtol=1e-5, atol=1e-5)


def test_gradients_equal_those_of_the_published_form() -> None:
    torch.manual_seed(0)
    pair = GuidedSwinPair(dim=8, guidance_dim=6, heads=2, grid=6, window=3).double()
    x = torch.randn(1, 1, 36, 8, dtype=torch.double, requires_grad=True)
    guidance = torch.randn(1, 36, 6, dtype=torch.double, requires_grad=True)
    inputs = [x, guidance, *pair.parameters()]
    weight = torch.randn(1, 36, 8, dtype=torch.double)
    ours = torch.autograd.grad((pair(x, guidance)[:, 0] * weight).sum(), inputs)
    g = pair.guidance_norm(guidance)
    y = _published_block(pair.block_2, _published_block(pair.block_1, x[:, 0], g, 6, 3, 0), g, 6, 3, 1)
    theirs = torch.autograd.grad((y * weight).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_infinite_mask_hides_what_minus_100_only_dampens() -> None:
    """Places that are no neighbours on the map leak through -100 where scores are large, never through -inf."""
    for masked, leaks in ((-100.0, True), (-math.inf, False)):
        torch.manual_seed(0)
        block = GuidedWindowBlock(8, 6, heads=2, grid=6, window=3, shift=1, ratio=4.0, masked=masked)
        with torch.no_grad():
            for projection in (block.attn.q, block.attn.k):
                projection.weight.mul_(30)
        x, offset = torch.randn(1, 1, 36, 8, requires_grad=True), block.attn.offset(torch.randn(1, 1, 36, 6))
        last = slice(27, 36)  # the window that the shift made of the map's four corners
        block(x, offset)[0, 0, 27].sum().backward()
        place = block.order[last]
        assert x.grad is not None
        apart = [i for i, p in enumerate(place.tolist()) if i and shift_mask(6, 3, 1)[3, 0, i] != 0]
        assert len(apart) == 5
        assert bool((x.grad[0, 0, 27:][apart] != 0).any()) == leaks


def test_windows_that_do_not_tile_are_refused() -> None:
    with pytest.raises(ValueError, match="tile"):
        GuidedSwinPair(dim=8, guidance_dim=6, heads=2, grid=6, window=4)
