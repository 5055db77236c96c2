"""What the steps of a training take, watched from its own loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from repro.training.loop import Figures, Observer


class Enough(Exception):  # noqa: N818  no error: the rehearsal has seen what it wanted
    """Ends a training between two steps, as a signal that kills it would."""


class Steps(Observer):
    """Seconds of every step and how long it waited for its batch; ends the training before step ``until``.

    ``pause`` are the seconds between the last step and that end: writing the checkpoint, and the next batch.
    """

    def __init__(self, device: str, until: int | None = None, told: Callable[[Any], None] | None = None) -> None:
        self.device, self.until, self.told = device, until, told
        self.seconds: list[float] = []
        self.waits: list[float] = []
        self.first = 0
        self.pause = 0.0
        self._last = time.perf_counter()

    def start(self, done: int) -> None:
        self.first, self._last = done, self._now()

    def before(self, number: int) -> None:
        now = self._now()
        if number == self.until:
            self.pause = now - self._last
            raise Enough
        self.waits.append(now - self._last)

    def after(self, done: int, figures: Figures) -> None:
        now = self._now()
        self.seconds.append(now - self._last)
        if self.told:
            self.told(self)
        self._last = self._now()

    def _now(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
