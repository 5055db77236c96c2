from __future__ import annotations

import pytest
import torch

from disa.selection import drawn_saliency, most_salient, relative, salient_mass


@pytest.mark.parametrize("k", [0, 1, 4, 9])
def test_the_k_largest_are_kept(k: int) -> None:
    torch.manual_seed(0)
    saliency = torch.rand(2, 3, 9)
    mask = most_salient(saliency, k)
    assert mask.sum(-1).eq(k).all()
    for row, kept in zip(saliency.flatten(0, 1), mask.flatten(0, 1), strict=True):
        assert set(kept.nonzero().flatten().tolist()) == set(sorted(range(9), key=lambda i: -row[i])[:k])


def test_of_equals_the_first_places_are_kept() -> None:
    saliency = torch.tensor([[0.0, 2.0, 1.0, 1.0, 2.0, 1.0]])
    assert most_salient(saliency, 3).tolist() == [[False, True, True, False, True, False]]
    assert most_salient(torch.zeros(1, 500), 7).nonzero()[:, 1].tolist() == list(range(7))


@pytest.mark.parametrize("k", [-1, 10])
def test_more_tokens_than_there_are_cannot_be_kept(k: int) -> None:
    with pytest.raises(ValueError, match="of 9 tokens"):
        most_salient(torch.rand(1, 1, 9), k)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_fewest_tokens_that_hold_the_mass_are_kept(share: float) -> None:
    torch.manual_seed(0)
    saliency = torch.rand(20, 12, dtype=torch.double)
    for row, kept in zip(saliency, salient_mass(saliency, share), strict=True):
        falling = row.sort(descending=True).values
        need = next((n for n in range(13) if falling[:n].sum() >= share * row.sum() - 1e-12), 12)
        assert int(kept.sum()) == need
        assert row[kept].sum() >= share * row.sum() - 1e-12


def test_without_any_saliency_no_mass_is_kept() -> None:
    assert not salient_mass(torch.zeros(2, 5), 0.9).any()


def test_a_draw_depends_on_the_name_alone() -> None:
    one = drawn_saliency(["dog", "cat"], 50, torch.device("cpu"))
    other = drawn_saliency(["cat", "bird", "dog"], 50, torch.device("cpu"))
    assert torch.equal(one[0], other[2])
    assert torch.equal(one[1], other[0])
    assert not torch.equal(one[0], one[1])


def test_saliency_over_its_largest_value_is_one_there_and_zero_where_there_is_none() -> None:
    found = relative(torch.tensor([[0.0, 2.0, 4.0], [0.0, 0.0, 0.0], [1e-14, 5e-15, 0.0]]))
    assert torch.allclose(found, torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.0, 0.0], [1.0, 0.5, 0.0]]))


def test_a_class_whose_attention_has_left_its_places_gets_a_finite_gradient() -> None:
    """Attention of 1e-42 where the gradient is positive: the inverse of the largest value is infinite."""
    scores = torch.tensor([0.0, -96.0, -97.0], requires_grad=True)
    weights = torch.tensor([0.0, 1.0, 1.0])
    relative(scores.softmax(dim=0) * weights).square().sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
