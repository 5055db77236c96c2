"""Attention of few tokens is the attention of torch, gradients included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from repro.layers import window_attention
from repro.layers.small_attention import FEW, small_attention
from repro.layers.window_attention import GuidedWindowBlock


def _torch_attention(qkv: Tensor, bias: Tensor | None, heads: int) -> Tensor:
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(2, 3) for part in qkv.chunk(3, dim=-1))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(2, 3).flatten(3)


@pytest.mark.parametrize("shape", [None, (1, 3, 1, 5, 5), (2, 3, 1, 1, 5), (3, 1, 5, 5), (2, 3, 2, 5, 5)])
@pytest.mark.parametrize("heads", [1, 2])
def test_result_and_gradient_are_those_of_torchs_attention(heads: int, shape: tuple[int, ...] | None) -> None:
    if shape is not None and shape[2] == 2:  # a bias of its own for each head
        shape = (*shape[:2], heads, *shape[3:])
    torch.manual_seed(0)
    qkv = torch.randn(2, 3, 5, 24, dtype=torch.double, requires_grad=True)
    bias = None if shape is None else 3 * torch.randn(shape, dtype=torch.double)
    ours, expected = small_attention(qkv, bias, heads), _torch_attention(qkv, bias, heads)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(ours)
    grads = [torch.autograd.grad(y, qkv, grad)[0] for y in (ours, expected)]
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("apart", [False, True])
def test_a_block_attends_alike_within_windows_of_few_tokens_and_by_torchs_kernel(
    shift: int, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    block = GuidedWindowBlock(8, 6, 2, 8, 4, shift, 2.0).double()
    qkv = torch.randn(2, 3, 64, 24, dtype=torch.double, requires_grad=True)
    bias = block.apart(torch.rand(2, 3, 64) < 0.4) if apart else None
    assert block.window**2 <= FEW
    found = []
    for few in (FEW, 0):
        monkeypatch.setattr(window_attention, "FEW", few)
        mixed = block.attend(qkv, bias)
        assert ("SmallAttention" in _names(mixed)) == bool(few)
        found.append((mixed, torch.autograd.grad(mixed.square().sum(), qkv)[0]))
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)


def test_keys_left_out_by_minus_100_have_no_weight_and_nothing_else_changes() -> None:
    """e^-100 is no normal float32, and products with such numbers are many times slower."""
    torch.manual_seed(0)
    torch.randn(3000, 300).softmax(-1)  # starts torch's threads, which compute a part of the weights
    qkv, left_out = torch.randn(2, 3, 5, 24, requires_grad=True), torch.zeros(3, 1, 5, 5)
    left_out[..., 3:] = -100
    mixed = small_attention(qkv, left_out, 1)
    weights = mixed.grad_fn.saved_tensors[1]  # type: ignore[union-attr]
    assert (weights[..., 3:] == 0).all()
    assert (weights[..., :3] > 0).all()
    expected = _torch_attention(qkv, left_out, 1)
    torch.testing.assert_close(mixed, expected, rtol=1e-6, atol=1e-6)
    grads = [torch.autograd.grad(y.square().sum(), qkv)[0] for y in (mixed, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


def test_tensors_without_numbers_attend_too() -> None:
    """What a plan and a memory tracker run: nothing in there may be read."""
    with FakeTensorMode():
        qkv = torch.randn(2, 3, 5, 24, requires_grad=True)
        small_attention(qkv, torch.zeros(3, 1, 5, 5), 1).sum().backward()
        assert qkv.grad is not None
        assert qkv.grad.shape == qkv.shape


def _names(result: Tensor) -> str:
    """Return the names of the last operations that made ``result``."""
    names, node = [], result.grad_fn
    for _ in range(3):
        if node is None:
            break
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    return " ".join(names)
