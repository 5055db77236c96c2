from __future__ import annotations

import pytest
import torch

import repro.layers.tokens
from repro.layers.parallel import serial
from repro.layers.tokens import GuidedProjection, add_, chunk_step, per_class, permute_tokens


def test_split_linear_equals_concat_linear() -> None:
    torch.manual_seed(0)
    projection = GuidedProjection(dim=6, guidance_dim=4)
    x, guidance = torch.randn(2, 5, 6), torch.randn(2, 1, 4)
    q, k, v = projection(x, projection.offset(guidance)).chunk(3, dim=-1)
    both = torch.cat([x, guidance.expand(-1, 5, -1)], dim=-1)
    torch.testing.assert_close(q, projection.q(both))
    torch.testing.assert_close(k, projection.k(both))
    torch.testing.assert_close(v, projection.v(x))


def test_permutation_has_the_gradient_of_indexing() -> None:
    order = torch.tensor([2, 0, 1])
    x = torch.randn(2, 3, 4, requires_grad=True)
    weight = torch.randn(2, 3, 4)
    ours = torch.autograd.grad((permute_tokens(x, order, order.argsort()) * weight).sum(), x)[0]
    theirs = torch.autograd.grad((x[:, order] * weight).sum(), x)[0]
    assert torch.equal(ours, theirs)


def test_sum_keeps_the_wider_type() -> None:
    half, full = torch.ones(3, dtype=torch.bfloat16), torch.full((3,), 1 / 3)
    assert add_(half.clone(), full).dtype == torch.float32
    fresh = full.clone()
    assert add_(fresh, full) is fresh


def test_chunks_stay_within_an_image_and_cover_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repro.layers.tokens, "CHUNK_ELEMENTS", 24)
    monkeypatch.setattr(repro.layers.tokens, "NARROW", 1)
    x, shared = torch.randn(3, 5, 2, 4), torch.randn(3, 1, 1, 1)
    shapes = []

    def scale(part: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(part.shape))
        return part.sum(dim=-1) * factor.squeeze(-1)

    with torch.no_grad(), serial():  # threads share a chunk's elements
        result = per_class(scale, x, lambda i: shared if i is None else shared[i : i + 1])
    assert torch.equal(result, x.sum(dim=-1) * shared.squeeze(-1))
    assert shapes == [(1, 3, 2, 4), (1, 2, 2, 4)] * 3


@pytest.mark.parametrize(
    ("device", "channels", "classes"),
    [("cpu", 128, 14), ("cpu", 64, 28), ("cpu", 32, 28), ("cuda", 128, 455), ("cuda", 32, 847)],
)
def test_a_chunk_is_so_many_elements_and_narrow_tokens_count_as_wider_ones(
    device: str, channels: int, classes: int
) -> None:
    with torch.no_grad(), serial():
        step = chunk_step(847, 576, channels, torch.device(device))
    assert min(step, 847) == classes
