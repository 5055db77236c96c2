"""Every moment of an inference belongs to one stage."""

from __future__ import annotations

import time

import pytest
import torch
from fake_method import PixelClassifier

from repro.cost.stages import StageTimes
from repro.cost.timing import forward_share
from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow


class Staged(PixelClassifier):
    """Sleeps 10 ms in one stage, 40 ms in another inside it, and 20 ms in the first again."""

    def outer(self):
        time.sleep(0.01)
        self.inner()
        time.sleep(0.02)

    def inner(self):
        time.sleep(0.04)

    def forward(self, images, classes):
        self.outer()
        return super().forward(images, classes)

    def stages(self):
        return {"aggregation": [(self, "outer")], "decoder": [(self, "inner")]}


@pytest.fixture
def method():
    torch.manual_seed(0)
    return Staged().eval()


def run(method):
    import numpy as np

    window = SlidingWindow(Protocol(short_side=20, max_long_side=80, canvas=20, window=12))
    begin = time.perf_counter()
    with StageTimes(method, "cpu") as times:
        window.predict(method, np.zeros((20, 20, 3), np.uint8), ["sky", "dog"])
    return times.seconds(), time.perf_counter() - begin


def test_a_stage_inside_another_is_charged_once(method):
    found, _ = run(method)
    assert found["decoder"] >= 0.04
    assert found["aggregation"] >= 0.03
    assert set(found) == {"windows", "other", "aggregation", "decoder"}


def test_stages_add_up_to_the_whole(method):
    found, whole = run(method)
    assert sum(found.values()) == pytest.approx(whole, rel=0.2)
    assert sum(found.values()) <= whole


def test_the_method_is_as_it_was_afterwards(method):
    before = set(method.__dict__)
    run(method)
    assert set(method.__dict__) == before


def test_a_share_is_of_the_forward_pass_alone():
    assert forward_share({"windows": 9.0, "saliency": 1.0, "clip": 3.0}, "saliency") == 0.25
    assert forward_share({"windows": 9.0}, "saliency") is None
    assert forward_share(None, "saliency") is None
