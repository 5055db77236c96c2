"""The memory that a plan announces for a training is what torch's own tracker sees, without a number computed."""

from __future__ import annotations

import pytest
import torch
from memory_tracker import Tracker

from repro.cost.estimate import build_on_meta, estimate_training
from repro.methods import registry
from repro.runs.recipe import CLASSES
from repro.testing.fake_device import fake_device, put
from repro.training.optim import build_optimizer
from repro.training.settings import TrainSettings
from repro.visit.sections import TOWERS

PUBLISHED = TrainSettings()
BASE, LARGE = TOWERS
FEW = 20
"""Classes of the case that every run of the tests has the time for."""


def tracked_step(name: str, tower: str, classes: int) -> float:
    """Peak GiB of a training step in float32, its optimiser's moments included; on a CPU, for the backward pass."""
    entry = registry()[name]
    method = build_on_meta(entry, TOWERS[tower], entry.make_options()).train()
    with fake_device("cpu"):
        put(method, "cpu")
        optimiser = build_optimizer(method, PUBLISHED)
        trained = [p for group in optimiser.param_groups for p in group["params"]]
        for parameter in trained:
            parameter.grad = torch.empty_like(parameter)
        optimiser.step()  # a step that has the moments already
        optimiser.zero_grad()
        images = torch.empty(PUBLISHED.batch_size, 3, PUBLISHED.crop, PUBLISHED.crop)
        labels = torch.empty(PUBLISHED.batch_size, PUBLISHED.crop, PUBLISHED.crop, dtype=torch.int64)
        tracker = Tracker("cpu")
        tracker.track_external(method, optimiser, images, labels)
        with tracker:
            values = method.loss(images, labels, [f"class {i}" for i in range(classes)])
            torch.stack([v for k, v in values.items() if k.startswith("loss")]).sum().backward()
            torch.nn.utils.clip_grad_norm_(trained, PUBLISHED.clip_grad_norm)
            optimiser.step()
        return tracker.gib("peak")


@pytest.mark.parametrize(
    ("tower", "classes"),
    [
        pytest.param(BASE, FEW, id="few"),
        pytest.param(BASE, CLASSES, id="base", marks=pytest.mark.long),
        pytest.param(LARGE, CLASSES, id="large", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("name", [name for name, entry in registry().items() if entry.trainable])
def test_memory_of_a_training_step_is_within_15_percent_of_the_trackers(name: str, tower: str, classes: int) -> None:
    entry = registry()[name]
    expected = estimate_training(entry, TOWERS[tower], entry.make_options(), PUBLISHED, num_classes=classes).memory_gib
    found = tracked_step(name, tower, classes)
    print(f"| {entry.title} | {tower} | {classes} | {found:.2f} | {expected:.2f} | {expected / found - 1:+.0%} |")
    assert expected == pytest.approx(found, rel=0.15)
