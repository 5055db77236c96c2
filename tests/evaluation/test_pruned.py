"""The pruned arg-max against all maps of all classes, which tests/evaluation/test_infer.py holds to the official."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from repro.datasets.protocol import Protocol
from repro.evaluation import pruned, tiles
from repro.evaluation.infer import SlidingWindow
from repro.evaluation.tiles import exp_in_place, label_strips, place_of_largest

FOUR = Protocol(short_side=106, max_long_side=424, canvas=106, window=64)
PROTOCOLS = {
    "four windows and the whole": FOUR,
    "windows alone": dataclasses.replace(FOUR, whole_image=False),
    "nine windows": Protocol(short_side=96, max_long_side=400, canvas=96, window=48, overlap=0.5),
    "windows whose last is flush": Protocol(short_side=106, max_long_side=400, canvas=106, window=64, overlap=0.5),
    "one window": Protocol(short_side=64, max_long_side=256, canvas=64, window=64),
}
CLASSES = 40


class Named:
    """All that labels need of a method."""

    def __init__(self, activation: str) -> None:
        self.activation = activation


def drawn(protocol: Protocol, size: tuple[int, int], classes: int = CLASSES, seed: int = 0, grid: int = 4):
    """Smooth logits (V, N, h, w) of views that agree in part, as those of a method do."""
    views = len(SlidingWindow(protocol).corners) + protocol.whole_image
    draw = torch.Generator().manual_seed(seed)
    common = torch.randn(1, classes, grid, grid, generator=draw)
    coarse = 3 * (common + 0.5 * torch.randn(views, classes, grid, grid, generator=draw))
    return F.interpolate(coarse, size=size, mode="bicubic", align_corners=False)


def both(protocol: Protocol, activation: str, logits, size, last=None):
    """Labels by all maps, then pruned; where they differ the two scores must be equal but for rounding."""
    window, method = SlidingWindow(protocol), Named(activation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pruned, "FEWEST", 10**9)
        every = window.labels(method, logits, size, last)
    assert pruned.worthwhile(logits, protocol)
    found = window.labels(method, logits, size, last)
    if not np.array_equal(every, found):
        scores = torch.cat([s for _, s in window.score_chunks(method, logits, size)]).numpy()
        if last is not None:
            scores = np.concatenate([scores[:last], scores[last:].max(axis=0, keepdims=True)])
        named = np.take_along_axis(scores, found[None].astype(np.int64), axis=0)[0]
        np.testing.assert_allclose(named, scores.max(axis=0), rtol=2e-6 if activation == "softmax" else 3e-7)
    return every, found


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("size", [(50, 61), (128, 167), (1, 90), (300, 40)], ids=str)
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_labels_are_those_of_all_maps(protocol: Protocol, size: tuple[int, int], activation: str) -> None:
    for seed, grid in enumerate(((9, 9), (16, 12), (3, 24))):
        logits = drawn(protocol, grid, seed=seed)
        every, found = both(protocol, activation, logits, size)
        assert every.dtype == found.dtype
        assert len(np.unique(every)) > 3
        assert (every == found).mean() > 0.9999


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_steep_logits_whose_scores_are_nearly_0_and_1(activation: str) -> None:
    """Many scores are equal as numbers of 32 bits; all maps name the first of these, tiles the largest logit."""
    every, found = both(FOUR, activation, 6 * drawn(FOUR, (12, 12), seed=3), (90, 70))
    assert (every == found).mean() > 0.9


def test_the_first_of_equal_classes_is_named_and_the_fold_is_kept() -> None:
    logits = drawn(FOUR, (9, 9), classes=60)
    logits[:, 31:] = logits[:, :29]
    every, found = both(FOUR, "sigmoid", logits, (70, 64))
    assert found.max() <= 30
    assert (every % 31 == found).mean() > 0.999  # torch's maps of equal classes differ in a last bit here and there
    for last in (0, 1, 20):
        every, found = both(FOUR, "softmax", logits, (70, 64), last)
        assert found.max() == last
        assert (every == found).mean() > 0.999


def test_more_than_255_classes_make_labels_of_16_bits() -> None:
    every, found = both(FOUR, "sigmoid", drawn(FOUR, (8, 8), classes=300), (64, 64))
    assert found.dtype == np.uint16
    assert found.max() > 255
    assert (every == found).mean() > 0.999


def test_the_number_of_threads_changes_no_label() -> None:
    logits = drawn(FOUR, (9, 9))
    before = torch.get_num_threads()
    try:
        labels = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            labels.append(SlidingWindow(FOUR).labels(Named("softmax"), logits, (100, 90)))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(labels[0], labels[1])
    assert np.array_equal(labels[0], labels[2])


def test_infinite_logits_take_the_way_of_all_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = drawn(FOUR, (9, 9))
    logits[:, 5] = -torch.inf
    monkeypatch.setattr(pruned, "each", None)  # would fail if it were reached
    window = SlidingWindow(FOUR)
    assert 5 not in window.labels(Named("sigmoid"), logits, (40, 40))
    with pytest.raises(TypeError):
        window.labels(Named("sigmoid"), drawn(FOUR, (9, 9)), (40, 40))


def test_few_classes_fine_logits_and_other_types_are_left_to_all_maps() -> None:
    def worth(classes: int, side: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> bool:
        return pruned.worthwhile(torch.empty(5, classes, side, side, dtype=dtype, device=device), FOUR)

    assert worth(pruned.FEWEST, 32)
    assert not worth(pruned.FEWEST - 1, 32)
    assert not worth(847, 33)
    assert not worth(847, 32, torch.float64)
    assert not worth(847, 32, device="meta")


def test_where_views_agree_hardly_a_class_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counting(*arguments: Any) -> None:
        label_strips(*arguments)
        counts.append(arguments[-1])

    monkeypatch.setattr(tiles, "label_strips", counting)
    corners = 3 * torch.randn(1, 847, 2, 2, generator=torch.Generator().manual_seed(0))
    logits = F.interpolate(corners, size=(16, 16), mode="bilinear").expand(5, -1, -1, -1)
    one = dataclasses.replace(FOUR, canvas=64, short_side=64)
    SlidingWindow(one).labels(Named("softmax"), logits[:2].contiguous(), (64, 64))
    number, decided, computed = sum(counts)
    assert number == 64
    assert decided > number / 4
    assert computed < 6 * number  # of 847


def test_exponentials_are_those_of_numpy() -> None:
    values = np.linspace(-86, 87, 10_001, dtype=np.float32)
    wanted, bits = np.exp(values.astype(np.float64)), np.empty(len(values), np.int32)
    exp_in_place(values, len(values), bits)
    np.testing.assert_allclose(values, wanted, rtol=4e-7)
    middle = np.abs(np.log(wanted)) < 20
    np.testing.assert_allclose(values[middle], wanted[middle], rtol=1.5e-7)


def test_the_first_of_the_largest_is_found() -> None:
    assert place_of_largest(np.array([1, 3, 3, 2], np.float32)) == 1
