"""The memory that a visit to a GPU will find for large predictions stays within its budget, counted without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from memory_tracker import Tracker

from repro.clock import StageClock
from repro.cost.estimate import build_on_meta
from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow
from repro.methods import registry
from repro.testing.fake_device import KIND, WITHOUT_CUDA, fake_device, put
from repro.visit.memory import BUDGET_MIB, CASES
from repro.visit.sections import CURVE_METHODS, TOWERS


@pytest.mark.long
@pytest.mark.skipif(KIND != "cuda", reason=WITHOUT_CUDA)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CURVE_METHODS)
def test_a_prediction_stays_within_the_budget_above_the_weights(name: str, case: str) -> None:
    entry, (count, size, _) = registry()[name], CASES[case]
    method = build_on_meta(entry, next(iter(TOWERS.values())), entry.make_options()).eval()
    with fake_device():
        put(method)
        tracker = Tracker(KIND)
        tracker.track_external(method)
        image, names = np.zeros((*size, 3), np.uint8), [f"class number {i}" for i in range(count)]
        with tracker, torch.no_grad():
            weights = tracker.gib("current")
            SlidingWindow(Protocol()).predict(method, image, names, StageClock())
        above = 1024 * (tracker.gib("peak") - weights)
    print(f"| {entry.title} | {case} | {above:,.0f} |")
    assert 0 < above <= BUDGET_MIB
