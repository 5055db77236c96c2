"""Speed, as ratios of two ways to the same result in one process. Run: pytest tests/speed --benchmark-only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from in_turn import times_faster
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from repro.datasets.sets import ade150, coco_stuff
from repro.datasets.vocabulary import load_vocabulary
from repro.layers.norms import LayerNorm
from repro.metrics.counts import confusion_matrix

ADE150_RULE, COCO_RULE = (module.DATA_SET.convert_mask for module in (ade150, coco_stuff))

Array = NDArray[Any]


def blocks(values: int, height: int = 480, width: int = 640) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, values, (height // 16, width // 16))
    return np.kron(coarse, np.ones((16, 16), np.int64)).astype(np.uint8)


def label_loop(mask: Array, values: Sequence[int]) -> Array:
    out = np.full(mask.shape, 255, np.uint8)
    for value in values:
        out[mask == value] = value
    return out


COCO = load_vocabulary("coco_stuff171").column("stuffthingmaps_value")


@pytest.mark.parametrize(
    ("rule", "values"),
    [(COCO_RULE, COCO), (ADE150_RULE, range(150))],
    ids=["coco-stuff", "A-150"],
)
def test_label_conversion_is_a_look_up_not_a_loop(
    benchmark: BenchmarkFixture, rule: Callable[[Array], Array], values: Sequence[int]
) -> None:
    mask = np.take(np.array(values, np.uint8), blocks(len(values)))
    times_faster(benchmark, lambda: rule(mask), lambda: label_loop(mask, values), at_least=5)


def test_counting_is_one_pass_not_one_a_class(benchmark: BenchmarkFixture) -> None:
    classes = 150
    label, prediction = blocks(classes), blocks(classes)[::-1].copy()

    def naive() -> list[tuple[int, int, int]]:
        return [
            (int(((label == c) & (prediction == c)).sum()), int((label == c).sum()), int((prediction == c).sum()))
            for c in range(classes)
        ]

    times_faster(benchmark, lambda: confusion_matrix(prediction, label, classes, 255), naive, at_least=3)


def test_short_rows_are_normalised_faster_than_by_torch(benchmark: BenchmarkFixture) -> None:
    norm, x = LayerNorm(32), torch.randn(16384, 32)

    def turns(work: Callable[[torch.Tensor], torch.Tensor]) -> None:
        with torch.no_grad():
            for _ in range(20):
                work(x)

    times_faster(benchmark, lambda: turns(norm), lambda: turns(partial(torch.nn.LayerNorm.forward, norm)), at_least=1.3)
