"""The arg-max over many classes, pruned, against all maps of all classes, in one process and in CPU time.

Run: pytest tests/speed/test_pruned_speed.py --benchmark-only. Ratios are stored as ``times_faster``. Views see parts of
one smooth scene, each with some noise of its own, as the logits of a method do; published protocol, 847 classes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from in_turn import times_faster
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from repro.datasets.protocol import Protocol
from repro.evaluation import pruned
from repro.evaluation.infer import SlidingWindow

PROTOCOL, SIZE, CLASSES = Protocol(), (512, 683), 847


class Named:
    def __init__(self, activation: str) -> None:
        self.activation = activation


def scene(side: int) -> torch.Tensor:
    """Logits (V, N, side, side) of the views of one scene."""
    draw, p = torch.Generator().manual_seed(0), PROTOCOL
    whole = F.interpolate(3 * torch.randn(1, CLASSES, 6, 6, generator=draw), size=(side, side), mode="bicubic")
    views = [
        F.interpolate(
            whole[..., top * side // p.canvas :, left * side // p.canvas :][
                ..., : p.window * side // p.canvas, : p.window * side // p.canvas
            ],
            size=(side, side),
            mode="bilinear",
        )
        for top, left in SlidingWindow(p).corners
    ]
    logits = torch.cat([*views, whole])
    return logits + 0.3 * F.interpolate(torch.randn(5, CLASSES, 6, 6, generator=draw), size=(side, side))


@pytest.mark.parametrize("side", [24, 96], ids=["24 x 24", "96 x 96"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_few_classes_are_brought_to_full_size(
    benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch, activation: str, side: int
) -> None:
    """12 to 34 on two shared cores."""
    logits, window, method = scene(side), SlidingWindow(PROTOCOL), Named(activation)

    def labels(fewest: int) -> NDArray[Any]:
        monkeypatch.setattr(pruned, "FEWEST", fewest)
        return window.labels(method, logits, SIZE)

    fast, slow = partial(labels, pruned.FEWEST), partial(labels, 10**9)
    assert (fast() == slow()).mean() > 0.9999
    times_faster(benchmark, fast, slow, at_least=4, rounds=1)
