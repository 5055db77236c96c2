"""Crops whose labels are names, and which classes a step has."""

from __future__ import annotations

import pytest
import torch

from repro.launch import processes
from repro.training.named_crops import NONE, present_classes

CLASSES = ("dog", "cat", "sofa", "grass")


def test_the_classes_of_a_step_are_those_that_an_image_of_its_batch_has() -> None:
    present, whole, classes = present_classes(torch.tensor([[3, 0, NONE], [0, NONE, NONE]]), CLASSES)
    assert classes == ("dog", "grass")
    assert present.tolist() == [[True, True], [True, False]]
    assert whole.tolist() == present.tolist()


def test_each_of_several_processes_has_the_classes_of_all_and_its_own_images(monkeypatch: pytest.MonkeyPatch) -> None:
    first, own = torch.tensor([[2, NONE]]), torch.tensor([[1, 3]])
    monkeypatch.setattr(processes, "gathered", lambda named: [first, named])
    monkeypatch.setattr(processes, "rank", lambda: 1)
    present, whole, classes = present_classes(own, CLASSES)
    assert classes == ("cat", "sofa", "grass")
    assert present.tolist() == [[True, False, True]]
    assert whole.tolist() == [[False, True, False], [True, False, True]]
