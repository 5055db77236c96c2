"""Compiled blocks of lists against the same written out in float64, and where they are not taken."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from disa import pixelwise
from disa.pixelwise import Divided, refine_branches
from disa.selection import most_salient
from repro.layers import (
    compiled_attention,
    compiled_block,
    compiled_block_back,
    compiled_decoder,
    compiled_lists,
    compiled_products,
    compiling,
    loops,
    map_loops,
    token_lists,
    vectors,
    window_attention,
)
from repro.layers.token_lists import Block, compiled, lists_of, run_lists
from repro.layers.tokens import Mlp
from repro.layers.window_attention import GuidedSwinPair


def pair(grid: int, window: int, masked: float = window_attention.MASKED) -> GuidedSwinPair:
    return GuidedSwinPair(dim=32, guidance_dim=6, heads=2, grid=grid, window=window, masked=masked)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call of the compiled block gave a result, in order."""
    calls: list[bool] = []

    def watched(*args: Any) -> Tensor | None:
        out = run_lists(*args)
        calls.append(out is not None)
        return out

    monkeypatch.setattr(window_attention, "run_lists", watched)
    monkeypatch.setattr(pixelwise, "run_lists", watched)
    return calls


def test_lists_hold_the_tokens_of_equal_number_in_order() -> None:
    members, starts = lists_of(torch.tensor([2, 0, 2, 3, 0, 2]), 5)
    assert members.tolist() == [1, 4, 0, 2, 5, 3]
    assert starts.tolist() == [0, 2, 2, 5, 6, 6]
    number = torch.randint(0, 40, (3000,), generator=torch.Generator().manual_seed(0))
    members, starts = lists_of(number, 40)
    assert torch.equal(members, number.argsort(stable=True))
    assert starts[-1] == len(number)


class Parts(nn.Module):
    """A transformer layer written out, list by list."""

    def __init__(self, dim: int, hidden: int, relu: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.mlp = Mlp(dim, hidden / dim, F.relu if relu else F.gelu)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)

    def block(self, heads: int, after: bool = False) -> Block:
        return Block(self.norm1, self.qkv.weight, self.proj, self.norm2, self.mlp, heads, after)

    def run(self, x: Tensor, guidance: Tensor, number: Tensor, heads: int, after: bool) -> Tensor:
        out = torch.empty_like(x)
        qkv = self.qkv(x if after else self.norm1(x)) + guidance
        for i in number.unique():
            q, k, v = qkv[number == i].unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
            mixed = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v
            y = x[number == i] + self.proj(mixed.transpose(0, 1).flatten(1))
            y = self.norm1(y) if after else y
            y = y + self.mlp(y if after else self.norm2(y))
            out[number == i] = self.norm2(y) if after else y
        return out


SIZES = [0, 1, 7, 0, 3, 16, 17, 40, 0, 5, 0, 144, 9, 0, 0, 9, 2]


def tokens(dim: int, sharpness: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The list of each token, tokens, guidance and its row for each; lists as long as ``SIZES``."""
    number = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))[torch.randperm(sum(SIZES))]
    x, guidance = torch.randn(len(number), dim), torch.randn(5, 3 * dim)
    guidance[:, : 2 * dim] *= sharpness**0.5
    return number, x, guidance, torch.randint(5, (len(number),))


@pytest.mark.parametrize("width", [16, 48])
@pytest.mark.parametrize("sharpness", [1.0, 40.0])
@pytest.mark.parametrize("after", [False, True])
def test_each_token_sees_its_own_list(width: int, sharpness: float, after: bool) -> None:
    """Lists of one token, of less than a vector, a vector, more; norms before with GELU, or after with ReLU."""
    torch.manual_seed(0)
    heads = 2
    number, x, guidance, place = tokens(heads * width, sharpness)
    parts = Parts(heads * width, 32, after)
    with torch.inference_mode():
        out = run_lists(x, guidance, place, [(lists_of(number, len(SIZES)), parts.block(heads, after))], None)
        expected = parts.double().run(x.double(), guidance[place].double(), number, heads, after)
    assert out is not None
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [16, 48])
@pytest.mark.parametrize("sharpness", [1.0, 40.0])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_equal_those_of_float64(width: int, sharpness: float, after: bool, threads: int) -> None:
    """Of tokens, guidance and every parameter, each to the rounding of its largest number."""
    torch.manual_seed(0)
    heads = 2
    number, x, guidance, place = tokens(heads * width, sharpness)
    parts, toward = Parts(heads * width, 32, after), torch.randn_like(x)
    exact = copy.deepcopy(parts).double()
    leaves = [t.requires_grad_() for t in (x, guidance)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out = run_lists(x, guidance, place, [(lists_of(number, len(SIZES)), parts.block(heads, after))], None)
        assert out is not None
        out.backward(toward)
    finally:
        torch.set_num_threads(before)
    wide = [t.detach().double().requires_grad_() for t in leaves]
    exact.run(wide[0], wide[1][place], number, heads, after).backward(toward.double())
    names = ["tokens", "guidance", *dict(parts.named_parameters())]
    for name, own, other in zip(names, [*leaves, *parts.parameters()], [*wide, *exact.parameters()], strict=True):
        assert own.grad is not None
        assert other.grad is not None
        error = (own.grad - other.grad).abs().max() / other.grad.abs().max()
        assert error < 2e-5, (name, float(error))


@pytest.mark.parametrize("heads", [1, 3])
def test_the_weights_of_every_group_have_room(heads: int) -> None:
    """Counted in the order in which they are written, for lists of many sizes."""
    draw, labels, fullest = np.random.default_rng(0), np.zeros(vectors.LANES, np.float32), 0.0
    drawn = [draw.integers(0, most, 400) for most in (3, 12, 40, 150, 300) for _ in range(40)]
    alternating = [np.tile(sizes, 40) for sizes in ([1, 16], [16, 1, 0], [9], [17], [144], [97, 1])]
    for sizes in [*drawn, *alternating]:
        starts = np.concatenate([[0], np.cumsum(sizes)])
        longest = max(compiled_block.GROUP, compiled_attention.longest_of(starts))
        room = len(compiled_block_back.room_for_weights(longest, heads, True))
        at = 0
        while at < len(sizes):
            end, i, rows = compiled_block.next_group(starts, at), at, 0
            while i < end:
                begin, i, _ = compiled_block.next_pack(starts, i, end, labels)
                count = int(starts[i] - starts[begin])
                rows += heads * -(-count // vectors.LANES) * compiled_attention.weight_rows(count)
            fullest, at = max(fullest, rows / room), end
    assert 0.3 < fullest <= 1


def test_gradients_of_lists_too_long_to_keep_their_weights_equal_those_of_float64() -> None:
    torch.manual_seed(0)
    sizes = [3, compiled_block_back.KEPT + 9, 16]
    number = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))[torch.randperm(sum(sizes))]
    x, guidance, place = torch.randn(len(number), 32), torch.randn(1, 96), torch.zeros(len(number), dtype=torch.int64)
    parts, toward, x = Parts(32, 32, False), torch.randn(len(number), 32), x.requires_grad_()
    out = run_lists(x, guidance, place, [(lists_of(number, 3), parts.block(2))], None)
    assert out is not None
    out.backward(toward)
    wide = x.detach().double().requires_grad_()
    copy.deepcopy(parts).double().run(wide, guidance[place].double(), number, 2, False).backward(toward.double())
    assert x.grad is not None
    assert wide.grad is not None
    assert (x.grad - wide.grad).abs().max() < 2e-5 * wide.grad.abs().max()


def test_each_part_has_the_gradients_of_its_own_block() -> None:
    torch.manual_seed(0)
    number, first, second = torch.tensor([0, 1, 0, 2, 1, 2]), Parts(32, 32, relu=False), Parts(32, 16, relu=False)
    x, guidance, place = torch.randn(6, 32), torch.randn(1, 96), torch.zeros(6, dtype=torch.long)
    exact = [copy.deepcopy(parts).double() for parts in (first, second)]
    lists = lists_of(number, 3)
    out = run_lists(x, guidance, place, [(lists.part(0, 2), first.block(2)), (lists.part(2, 3), second.block(2))], None)
    assert out is not None
    out.square().sum().backward()
    rows = [number < 2, number == 2]
    for i in range(2):
        exact[i].run(x[rows[i]].double(), guidance.double(), number[rows[i]], 2, False).square().sum().backward()
        for own, other in zip((first, second)[i].parameters(), exact[i].parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-4, check_dtype=False)


def test_a_parameter_changed_between_forward_and_backward_pass_is_noticed() -> None:
    parts, x = Parts(16, 16, relu=False), torch.randn(4, 16)
    lists, place = lists_of(torch.zeros(4, dtype=torch.long), 1), torch.zeros(4, dtype=torch.long)
    out = run_lists(x, torch.zeros(1, 48), place, [(lists, parts.block(1))], None)
    assert out is not None
    with torch.no_grad():
        parts.proj.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_parts_of_lists_have_about_as_many_tokens() -> None:
    lists = lists_of(torch.repeat_interleave(torch.arange(9), torch.tensor([0, 5, 1, 30, 0, 2, 2, 20, 0])), 9)
    sizes = [int(part.starts[-1] - part.starts[0]) for part in lists.parts(3)]
    assert sum(sizes) == 60
    assert max(sizes) <= 36
    assert [len(part.starts) for part in lists.part(3, 3).parts(2)] == []
    assert int(lists.part(3, 9).parts(4)[0].starts[0]) == 6


@pytest.mark.parametrize("after", [False, True])
@torch.no_grad()
def test_what_is_no_number_is_not_hidden(after: bool) -> None:
    """An evaluation looks for it in the logits: weights of a training that diverged."""
    torch.manual_seed(0)
    x, lists, place = torch.randn(20, 16), lists_of(torch.arange(20) // 10, 2), torch.zeros(20, dtype=torch.long)
    for spoiled in dict(Parts(16, 16, after).named_parameters()):
        parts = Parts(16, 16, after)
        parts.get_parameter(spoiled).fill_(torch.nan)
        out = run_lists(x, torch.zeros(1, 48), place, [(lists, parts.block(1, after))], None)
        assert out is not None
        assert out.isnan().all(), spoiled
    for part in range(3):
        parts = Parts(16, 16, after)
        parts.qkv.weight[16 * part] = torch.nan  # one channel of the queries, of the keys, of the values
        out = run_lists(x, torch.zeros(1, 48), place, [(lists, parts.block(1, after))], None)
        assert out is not None
        assert out.isnan().all(), part


def test_the_compiled_gelu_is_as_exact_as_torchs() -> None:
    """Of numbers that differ from a product's zero by their bias alone."""
    numbers = torch.linspace(-9, 9, 4096)
    weight, out = torch.cat([torch.zeros(1, 4096), numbers.unsqueeze(0)]), torch.empty(compiled_products.TILE, 4096)
    rows = torch.zeros(compiled_products.TILE, 1)

    @njit
    def run(rows: Any, weight: Any, out: Any) -> None:
        for column in range(0, 4096, 16):
            compiled_products.affine_gelu(rows, 1, 0, weight, 4096, column, out)

    run(rows.numpy(), weight.numpy(), out.numpy())
    exact = torch.tensor([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in numbers.double().tolist()])
    scale = numbers.abs().clamp(min=1)
    own, theirs = (((g.double() - exact) / scale).abs().max() for g in (out[0], F.gelu(numbers)))
    assert own < 2e-7
    assert own < 2 * theirs


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


def assert_same_gradients(own: nn.Module, exact: nn.Module, limit: float) -> None:
    """Each to the rounding of its largest number; keys' biases have none: what they add is the same for all keys."""
    for (name, a), b in zip(own.named_parameters(), exact.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        scale = b.grad.abs().max() if not name.endswith("k.bias") else torch.tensor(1e3)
        assert ((a.grad - b.grad).abs().max() / scale) < limit, name


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("grid", [8, 4])
def test_gradients_of_a_pair_of_blocks_equal_those_of_float64_by_windows(
    grid: int, sharp: bool, taken: list[bool]
) -> None:
    torch.manual_seed(0)
    module = pair(grid, 4)
    with torch.no_grad():
        module.block_2.attn.q.weight.mul_(600 if sharp else 1)
    exact = copy.deepcopy(module).double()
    x, guidance, toward = torch.randn(2, 3, grid**2, 32), torch.randn(2, grid**2, 6), torch.randn(2, 3, grid**2, 32)
    leaves = [t.requires_grad_() for t in (x, guidance)]
    wide = [t.detach().double().requires_grad_() for t in leaves]
    module(*leaves).backward(toward)
    assert taken == [True, grid == 4 or not sharp]  # a single window is not shifted: nothing leaks
    exact(*wide).backward(toward.double())
    limit = 1e-3 if sharp else 2e-5  # scores of hundreds, in float32
    for a, b in zip(leaves, wide, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert ((a.grad - b.grad).abs().max() / b.grad.abs().max()) < limit
    assert_same_gradients(module, exact, limit)


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_gradients_of_branches_equal_those_of_float64_by_windows(share: float, sharp: bool, taken: list[bool]) -> None:
    torch.manual_seed(0)
    both = nn.ModuleList([pair(8, 4), pair(8, 4)])
    with torch.no_grad():
        for block in (both[0].block_2, both[1].block_2):
            block.attn.q.weight.mul_(600 if sharp else 1)  # type: ignore[operator, union-attr]
    exact = copy.deepcopy(both).double()
    k = round(share * 64)
    mask = most_salient(torch.rand(2, 3, 64), k)
    x, guidance, toward = torch.randn(2, 3, 64, 32), torch.randn(2, 64, 6), torch.randn(2, 3, 64, 32)

    def run(both: nn.Module, x: Tensor, guidance: Tensor, toward: Tensor) -> Tensor:
        front, back = both.children()
        guided = front.guide(guidance), back.guide(guidance)  # type: ignore[operator]
        x = x.requires_grad_()
        refine_branches(front, back, x, mask, k, *guided).joined().backward(toward)  # type: ignore[arg-type]
        assert x.grad is not None
        return x.grad

    found = run(both, x, guidance, toward)
    assert all(taken) != sharp
    expected = run(exact, x.detach().double(), guidance.double(), toward.double())
    limit = 1e-3 if sharp else 2e-5
    assert ((found - expected).abs().max() / expected.abs().max()) < limit
    for own, other in zip(both.children(), exact.children(), strict=True):
        if all(p.grad is not None and p.grad.any() for p in other.block_1.mlp.parameters()):  # type: ignore[union-attr]
            assert_same_gradients(own, other, limit)


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
    assert taken[0]
    assert all(taken) != sharp
    expected = run(copy.deepcopy(front).double(), copy.deepcopy(back).double(), x.double(), guidance.double()).joined()
    torch.testing.assert_close(found.double(), expected, rtol=1e-3 if sharp else 1e-5, atol=1e-3 if sharp else 1e-5)


def test_a_leak_is_taken_for_nothing_only_where_it_is_negligible() -> None:
    """Of scores that are at most 2 |q| |k| / sqrt(16) apart, -100 hides those of less than 70."""
    lists, place = lists_of(torch.zeros(4, dtype=torch.long), 1), torch.zeros(4, dtype=torch.long)
    parts, x = Parts(16, 16, relu=False), torch.zeros(4, 16)
    nn.init.zeros_(parts.norm1.bias)
    for length, hidden in ((11.8, True), (11.9, False)):
        guidance = torch.zeros(1, 48)
        guidance[:, 0] = guidance[:, 16] = length
        with torch.inference_mode():
            assert (run_lists(x, guidance, place, [(lists, parts.block(1))], -100.0) is not None) == hidden
    assert token_lists.NEGLIGIBLE == 30


def test_what_is_watched_or_in_another_type_is_not_compiled() -> None:
    class Watch(TorchDispatchMode):
        pass

    x = torch.zeros(2, 32)
    assert not compiling.serves(x)
    assert compiled(x, 16, 64)  # these loops have a gradient
    with torch.no_grad():
        assert compiling.serves(x)
        assert compiled(x, 16, 64)
        assert not compiled(x, 8, 64)
        assert not compiled(x, 16, 40)
        assert not compiled(x.double(), 16, 64)
        with torch.autocast("cpu", torch.bfloat16):
            assert not compiled(x, 16, 64)
        with Watch():
            assert not compiled(x, 16, 64)


def test_widths_are_taken_by_those_of_the_compiled_vectors() -> None:
    assert compiling.LANES == vectors.LANES  # said twice: to import the loops takes seconds
    assert map_loops.TILE == compiled_decoder.TILE


def test_loops_are_compiled_anew_when_any_of_their_files_changes(tmp_path: Path) -> None:
    """Numba looks at the file of a function alone, not at those of what it calls."""
    for file in (*Path(loops.__file__).parent.glob("compiled_*.py"), Path(loops.__file__), Path(vectors.__file__)):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = loops.sources(tmp_path)
    assert whole == loops.sources(Path(loops.__file__).parent)
    (tmp_path / "compiled_products.py").write_text("TILE = 4")
    assert loops.sources(tmp_path) != whole
    assert compiled_lists.group._cache._cache_file._source_stamp[1] == whole


_GRADIENTS = """
import hashlib, torch
from repro.layers.window_attention import GuidedSwinPair
torch.manual_seed(0)
pair, x = GuidedSwinPair(96, 6, 2, 6, 3), torch.randn(2, 3, 36, 96).requires_grad_()
out = pair(x, torch.randn(2, 36, 6))
out.backward(torch.randn_like(out))
numbers = [out, x.grad, *(p.grad for p in pair.parameters())]
print(hashlib.sha256(b"".join(t.detach().contiguous().numpy().tobytes() for t in numbers)).hexdigest())
"""


@pytest.mark.slow
def test_the_process_that_compiles_and_those_that_read_what_was_kept_find_the_same_bits(tmp_path: Path) -> None:
    def run() -> str:
        own = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", _GRADIENTS], env=own, check=True, capture_output=True
        ).stdout.decode()

    first = run()
    assert list(tmp_path.rglob("*.nbc"))
    assert run() == first
