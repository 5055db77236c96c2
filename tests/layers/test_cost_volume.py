from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from repro.layers.cost_volume import CostEmbedding, convolution_matrix, cosine_cost, scatter_logits, top_classes


def test_cost_is_the_cosine_of_every_place_class_and_prompt() -> None:
    torch.manual_seed(0)
    features, text = torch.randn(2, 4, 3, 3), F.normalize(torch.randn(1, 5, 2, 4), dim=-1)
    cost = cosine_cost(features, text)
    assert cost.shape == (2, 2, 5, 3, 3)
    expected = F.cosine_similarity(features[1, :, 2, 0], text[0, 3, 1], dim=0)
    torch.testing.assert_close(cost[1, 1, 3, 2, 0], expected)


def test_pruning_ranks_classes_by_their_maximum_over_places_and_prompts() -> None:
    cost = torch.zeros(1, 2, 4, 2, 2)
    cost[0, 1, 2, 0, 1] = 0.9
    cost[0, 0, 0, 1, 1] = 0.5
    cost[0, :, 1] = 0.4  # the largest mean, not the largest maximum
    assert top_classes(cost, 2).tolist() == [[0, 2]]


def test_scattered_logits_return_to_their_classes() -> None:
    logits = torch.arange(2.0).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    full = scatter_logits(logits, torch.tensor([[3, 1]]), 5, -100.0)
    assert full[0, :, 0, 0].tolist() == [-100, 1, -100, 0, -100]


def test_embedding_is_a_convolution_of_each_class_map() -> None:
    torch.manual_seed(0)
    embedding, cost = CostEmbedding(2, 6), torch.randn(3, 2, 4, 5, 5)
    expected = F.conv2d(cost[1, :, 2][None], embedding.conv.weight, embedding.conv.bias, padding=3)[0]
    torch.testing.assert_close(embedding(cost)[1, 2].T.view(6, 5, 5), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kernel", "size"), [(7, (5, 8)), (3, (4, 4)), (3, (9, 9))])
def test_embedding_of_small_and_large_maps_and_its_gradients_are_those_of_the_convolution(
    kernel: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    embedding = CostEmbedding(2, 6, kernel).double()
    cost = torch.randn(3, 2, 4, *size, dtype=torch.double, requires_grad=True)
    weights = (cost, embedding.conv.weight, embedding.conv.bias)
    maps = embedding.conv(cost.transpose(1, 2).flatten(0, 1))
    expected = maps.unflatten(0, (3, 4)).permute(0, 1, 3, 4, 2).flatten(2, 3)
    ours = embedding(cost)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(ours)
    for own, other in zip(*(torch.autograd.grad(y, weights, grad) for y in (ours, expected)), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(embedding(cost), ours.detach(), rtol=1e-12, atol=1e-12)


def test_matrix_of_a_convolution_holds_its_weights_at_the_places_they_join_and_zero_elsewhere() -> None:
    weight = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    matrix = convolution_matrix(weight, (2, 4))[:, :, 0]
    assert matrix[0].tolist() == [5, 4, 0, 0, 2, 1, 0, 0]  # from the first place: the kernel looks back at it
    assert matrix.count_nonzero() == 2 * 4 + 2 * (2 * 3) + 2 * 4 + 4 * 3
