"""A step on a part of the vocabulary sees the same pixels under the same names."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from repro.training.class_sample import sample_classes


def labels_of(*values: int) -> torch.Tensor:
    return torch.tensor(values).view(1, 1, -1)


@pytest.mark.parametrize("limit", [3, 10, 171, 500])
def test_every_labelled_pixel_keeps_its_class_and_ignored_ones_stay_ignored(limit: int):
    labels = torch.from_numpy(np.random.default_rng(0).choice([3, 170, 0, 42, 255], (2, 8, 8)))
    chosen, relabelled = sample_classes(labels, 171, limit, (0, 0))
    table = torch.tensor([*chosen, *[255] * (256 - len(chosen))])
    assert torch.equal(table[relabelled], labels)


def test_as_many_classes_as_asked_for_without_repetition():
    chosen, _ = sample_classes(labels_of(5, 255), 171, 40, (1, 2))
    assert len(set(chosen)) == len(chosen) == 40
    assert chosen == sorted(chosen)
    assert 5 in chosen


def test_classes_of_the_crop_are_all_kept_even_beyond_the_limit():
    chosen, relabelled = sample_classes(labels_of(1, 2, 3, 4, 5), 171, 2, (0, 0))
    assert chosen == [1, 2, 3, 4, 5]
    assert relabelled.flatten().tolist() == [0, 1, 2, 3, 4]


def test_the_same_position_draws_the_same_and_another_draws_another():
    labels = labels_of(7)
    first, second, other = (sample_classes(labels, 171, 20, (0, p))[0] for p in (8, 8, 12))
    assert first == second != other


def test_the_other_classes_are_drawn_evenly():
    counts = np.zeros(50)
    for position in range(2000):
        counts[sample_classes(labels_of(0), 50, 11, (0, position))[0]] += 1
    assert counts[0] == 2000
    assert abs(counts[1:] / 2000 - 10 / 49).max() < 0.05
