from __future__ import annotations

import torch
import torch.nn.functional as F

from repro.layers.cost_volume import CostEmbedding, cosine_cost, scatter_logits, top_classes


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
