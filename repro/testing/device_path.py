"""Checks of what a method does on a device, made without one (:mod:`repro.testing.fake_device`)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from repro.clip.spec import TowerSpec
from repro.clock import StageClock
from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow
from repro.methods import MethodEntry
from repro.methods.interface import Method
from repro.methods.speedups import AMP
from repro.testing.fake_device import KIND, TO_DEVICE, WITHOUT_CUDA, Wait, fake_device, put

NAMES = ("sky", "tall grass", "dog", "background")
PRECISIONS = [
    pytest.param(name, marks=pytest.mark.skipif(name != "bf16" and KIND != "cuda", reason=WITHOUT_CUDA)) for name in AMP
]
"""On the CPU, where real tensors are in float32, one of them stands for all."""


class DevicePath:
    """The part of :class:`repro.testing.MethodTester` that computes nothing."""

    entry: ClassVar[MethodEntry]
    spec: ClassVar[TowerSpec]
    loss_waits: ClassVar[tuple[str, ...]] = ()
    """``operation at module:function`` of what the loss makes the host wait for, in order."""

    def make(self, seed: int) -> Method:
        """Build the method with random weights."""
        raise NotImplementedError

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_no_view_makes_the_host_wait_for_the_device(self, precision: str) -> None:
        """Check a sliding window in every precision: its scores are float32 maps, and no value is read to get them."""
        method, side = self.make(seed=1).eval(), self.spec.resolution
        window = SlidingWindow(Protocol(side, 4 * side, side, side))
        image = window.resize(np.zeros((60, 80, 3), np.uint8))
        with fake_device() as waits:
            put(method)
            with autocast(precision), torch.no_grad():
                (logits,) = window.logits(method, [image], NAMES, StageClock())
            scores = [chunk for _, chunk in window.score_chunks(method, logits, (60, 80))]
        assert [tuple(s.shape) for s in scores] == [(len(NAMES), 60, 80)]
        assert {(s.dtype, s.device.type) for s in (logits, *scores)} == {(torch.float32, KIND)}
        # The pixels are sent before the method runs.
        sent = Wait(TO_DEVICE, "repro.evaluation.infer:SlidingWindow.views")
        assert [wait for wait in waits if wait != sent] == []

    @pytest.mark.parametrize("precision", PRECISIONS)
    def test_the_loss_waits_for_the_device_where_it_says_so(self, precision: str) -> None:
        """Check a loss with gradients in every precision: scalars on the device, and what is read to get them."""
        if not self.entry.trainable:
            pytest.skip("nothing trains")
        method = self.make(seed=1).train()
        with fake_device() as waits:
            put(method)
            images = torch.empty(2, 3, 60, 72, device=KIND)
            labels = torch.empty(2, 60, 72, dtype=torch.int64, device=KIND)
            with autocast(precision):
                values: dict[str, Tensor] = method.loss(images, labels, NAMES)
        assert {(tuple(v.shape), v.device.type) for v in values.values()} == {((), KIND)}
        assert all(v.requires_grad and v.dtype == torch.float32 for k, v in values.items() if k.startswith("loss"))
        assert [" at ".join(wait) for wait in waits] == list(self.loss_waits)


def autocast(precision: str) -> torch.autocast:
    """Return autocast on the fake device as evaluations and trainings use it."""
    return torch.autocast(KIND, AMP[precision], enabled=precision != "off")
