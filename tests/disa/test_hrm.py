"""Refinement of a branch against loops over token sets."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from disa.hrm import Refinement
from disa.options import DisaOptions
from disa.pixelwise import refine_branches, sort_branches
from disa.selection import most_salient
from repro.layers.window_attention import GuidedSwinPair, GuidedWindowBlock

GRIDS = [(6, 3), (8, 4), (9, 3), (5, 12), (4, 4)]


def pair_of(grid: int, window: int) -> GuidedSwinPair:
    torch.manual_seed(0)
    return GuidedSwinPair(dim=8, guidance_dim=6, heads=2, grid=grid, window=window).double()


def masks(grid: int) -> dict[str, Tensor]:
    """Masks (3 classes, L): drawn, none, all, and one that leaves whole windows without a token."""
    torch.manual_seed(1)
    places = grid * grid
    corner = torch.zeros(grid, grid, dtype=torch.bool)
    corner[: (grid + 1) // 3, : (grid + 1) // 3] = True
    return {
        "drawn": torch.rand(3, places) < 0.3,
        "none": torch.zeros(3, places, dtype=torch.bool),
        "all": torch.ones(3, places, dtype=torch.bool),
        "corner": corner.flatten().expand(3, -1).contiguous(),
        "one token": F.one_hot(torch.tensor([0, 5, places - 1]), places).bool(),
    }


def token_sets(grid: int, window: int, shift: int, keep: Tensor) -> list[list[int]]:
    """Raster indices of tokens that attend to one another: same shifted window, same side of the border, all kept."""
    sets: dict[tuple[int, ...], list[int]] = {}
    for row in range(grid):
        for column in range(grid):
            if not keep[row * grid + column]:
                continue
            r, c = (row - shift) % grid, (column - shift) % grid
            # Places that wrapped around share a window with others, but are no neighbours of theirs.
            key = (r // window, c // window, int(row < shift), int(column < shift))
            sets.setdefault(key, []).append(row * grid + column)
    return list(sets.values())


def set_by_set(block: GuidedWindowBlock, x: Tensor, guidance: Tensor, sets: list[list[int]]) -> Tensor:
    """The block on tokens (L, C) of one class, each set as if there were no others; zeros elsewhere."""
    out = torch.zeros_like(x)
    for members in sets:
        own, width = x[members], x.shape[1] // block.heads
        y = block.norm1(own)
        q, k = (m(torch.cat([y, guidance[members]], dim=-1)) for m in (block.attn.q, block.attn.k))
        v = block.attn.v(y)
        heads = [slice(h * width, (h + 1) * width) for h in range(block.heads)]
        mixed = torch.cat([(q[:, h] @ k[:, h].T / width**0.5).softmax(-1) @ v[:, h] for h in heads], dim=-1)
        own = own + block.proj(mixed)
        out[members] = own + block.mlp(block.norm2(own))
    return out


@pytest.mark.parametrize(("grid", "window"), GRIDS)
@pytest.mark.parametrize("kind", ["drawn", "none", "all", "corner", "one token"])
def test_masked_windows_equal_attention_token_set_by_token_set(grid: int, window: int, kind: str) -> None:
    pair, keep = pair_of(grid, window), masks(grid)[kind]
    x = torch.randn(2, 3, grid * grid, 8, dtype=torch.double)
    guidance = torch.randn(2, grid * grid, 6, dtype=torch.double)
    result = pair.run(x, pair.guide(guidance), keep.expand(2, -1, -1))
    assert result.isfinite().all()
    window, g = min(window, grid), pair.guidance_norm(guidance)
    shift = window // 2 if window < grid else 0
    for image in range(2):
        for n in range(3):
            own = set_by_set(pair.block_1, x[image, n], g[image], token_sets(grid, window, 0, keep[n]))
            own = set_by_set(pair.block_2, own, g[image], token_sets(grid, window, shift, keep[n]))
            found = torch.where(keep[n].unsqueeze(1), result[image, n], 0.0)
            torch.testing.assert_close(found, own, rtol=1e-10, atol=1e-10)


def test_keeping_all_is_keeping_no_mask() -> None:
    pair = pair_of(6, 3)
    x, guided = torch.randn(1, 2, 36, 8, dtype=torch.double), pair.guide(torch.randn(1, 36, 6, dtype=torch.double))
    torch.testing.assert_close(pair.run(x, guided, torch.ones(1, 2, 36, dtype=torch.bool)), pair.run(x, guided))


def test_what_is_left_out_changes_nothing_that_is_kept() -> None:
    pair, keep = pair_of(6, 3), masks(6)["drawn"].unsqueeze(0)
    x, guided = torch.randn(1, 3, 36, 8, dtype=torch.double), pair.guide(torch.randn(1, 36, 6, dtype=torch.double))
    other = torch.where(keep.unsqueeze(3), x, 1e3 * torch.randn_like(x))
    torch.testing.assert_close(pair.run(x, guided, keep)[keep], pair.run(other, guided, keep)[keep])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["none", "one token"])
def test_empty_windows_are_no_nan_in_any_precision_nor_are_their_gradients(dtype: torch.dtype, kind: str) -> None:
    pair, keep = pair_of(6, 3).to(dtype), masks(6)[kind].unsqueeze(0)
    x = torch.randn(1, 3, 36, 8, dtype=dtype, requires_grad=True)
    result = pair.run(x, pair.guide(torch.randn(1, 36, 6, dtype=dtype)), keep)
    torch.where(keep.unsqueeze(3), result, 0.0).float().square().sum().backward()
    assert result.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[~keep] == 0).all()


@pytest.mark.parametrize(("grid", "window"), GRIDS)
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_both_branches_at_once_equal_two_masked_pairs(grid: int, window: int, share: float) -> None:
    front, back = pair_of(grid, window), pair_of(grid, window)
    with torch.no_grad():
        for parameter in back.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    places = grid * grid
    k = round(share * places)
    mask = most_salient(torch.rand(2, 3, places), k)
    x = torch.randn(2, 3, places, 8, dtype=torch.double, requires_grad=True)
    guidance = torch.randn(2, places, 6, dtype=torch.double)
    guided = front.guide(guidance), back.guide(guidance)
    joint = refine_branches(front, back, x, mask, k, *guided).joined()
    apart = torch.where(mask.unsqueeze(3), front.run(x, guided[0], mask), back.run(x, guided[1], ~mask))
    torch.testing.assert_close(joint, apart, rtol=1e-10, atol=1e-10)
    weight, inputs = torch.randn_like(joint), [x, *front.parameters(), *back.parameters()]
    ours = torch.autograd.grad((joint * weight).sum(), inputs, retain_graph=True, allow_unused=True)
    theirs = torch.autograd.grad((apart * weight).sum(), inputs, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def refinement(**parts: bool) -> Refinement:
    torch.manual_seed(0)
    options = DisaOptions(hidden=8, heads=2, window=3, appearance_guidance=6, decoder_guidance_proj=(4, 4), **parts)
    return Refinement(options, 6).double()


@pytest.mark.parametrize("kind", ["drawn", "none", "all", "corner", "one token"])
def test_prototypes_pool_the_branch_s_own_tokens(kind: str) -> None:
    module, keep = refinement(), masks(6)[kind]
    x = torch.randn(2, 3, 36, 8, dtype=torch.double)
    found = module.prototypes(x, keep.expand(2, -1, -1))
    assert found is not None
    assert module.category is not None
    for image in range(2):
        for n in range(3):
            own = x[image, n][keep[n]]
            expected = torch.zeros(8, dtype=torch.double)
            if len(own):
                expected = module.category.average(own.mean(0)) + module.category.maximum(own.max(0).values)
            torch.testing.assert_close(found[image, n], expected)


def test_without_a_mask_prototypes_pool_all_tokens() -> None:
    module, x = refinement(), torch.randn(2, 3, 36, 8, dtype=torch.double)
    torch.testing.assert_close(module.prototypes(x, None), module.prototypes(x, torch.ones(2, 3, 36, dtype=torch.bool)))


def test_a_branch_without_tokens_has_finite_gradients() -> None:
    module, x = refinement(), torch.randn(1, 3, 36, 8, dtype=torch.double, requires_grad=True)
    gate = module.gate(module.prototypes(x, masks(6)["none"].unsqueeze(0)))
    assert gate is not None
    gate.sum().backward()
    assert x.grad is not None
    assert (x.grad == 0).all()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_the_gate_is_eq_3() -> None:
    module, prototypes = refinement(), torch.randn(2, 5, 8, dtype=torch.double)
    assert module.semantic is not None
    assert module.mix is not None
    summary = module.semantic.average(prototypes.mean(1)) + module.semantic.maximum(prototypes.amax(1))
    for n in range(5):
        expected = torch.sigmoid(module.mix(torch.cat([prototypes[:, n], summary], dim=-1)))
        torch.testing.assert_close(module.gate(prototypes)[:, n], expected)  # type: ignore[index]


def test_without_the_semantic_part_classes_do_not_meet() -> None:
    module, prototypes = refinement(semantic=False), torch.randn(2, 5, 8, dtype=torch.double)
    torch.testing.assert_close(module.gate(prototypes)[:, 2:3], module.gate(prototypes[:, 2:3]))  # type: ignore[index]


def test_switched_off_parts_have_no_weights() -> None:
    assert not list(refinement(pixel=False, category=False, semantic=False).parameters())
    assert {n.split(".")[0] for n, _ in refinement(pixel=False, semantic=False).named_parameters()} == {
        "category",
        "mix",
    }


@pytest.mark.parametrize("k", [0, 1, 9, 16])
def test_tokens_are_sorted_by_branch_alike_in_a_loop_and_by_torch(k: int) -> None:
    """Of each class first the foreground's, then the background's, both in the order of places."""
    torch.manual_seed(0)
    mask = most_salient(torch.rand(2, 3, 16), k)
    order, place = sort_branches(mask, k)
    rows = mask.flatten().nonzero().flatten(), (~mask).flatten().nonzero().flatten()
    assert order.equal(torch.cat(rows))
    assert order[place].equal(torch.arange(96))
    with FlopCounterMode(display=False):  # what is watched goes through torch
        for own, same in zip((order, place), sort_branches(mask, k), strict=True):
            assert own.equal(same)
