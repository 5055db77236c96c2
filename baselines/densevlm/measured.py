"""What a training takes: time of its steps and peak of its memory, also where one process continues another."""

from __future__ import annotations

import time
from typing import Any

import torch

from repro.cost.timing import forget_peak, peak_mib
from repro.hardware import cpu_name
from repro.training.loop import Figures, Observer


class Measured(Observer):
    """Seconds from the first batch to the last step, and the peak in MiB: allocated on a GPU, resident on a CPU.

    Getting ready (weights, text embeddings, the premise) is not part of either; data loading is part of the time.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds, self._earlier, self._began = 0.0, 0.0, 0.0
        self._peak: float | None = None

    def start(self, done: int) -> None:
        forget_peak(str(self.device))
        self._earlier, self._began = self.seconds, time.monotonic()

    def after(self, done: int, figures: Figures) -> None:
        self.seconds = self._earlier + time.monotonic() - self._began

    @property
    def peak(self) -> float | None:
        """The largest peak so far, of this process and those it continues; None where it is not known."""
        known = [p for p in (self._peak, peak_mib(str(self.device))) if p is not None]
        return max(known, default=None)

    def state(self) -> dict[str, Any]:
        """Return what a later process adds to."""
        return {"seconds": self.seconds, "peak": self.peak}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.seconds, self._peak = float(state.get("seconds", 0.0)), state.get("peak")

    def facts(self, epochs: float) -> dict[str, Any]:
        """Return what is kept with the result of a training of ``epochs`` passes over its images, as plain data."""
        gpu = self.device.type == "cuda"
        peak = self.peak
        return {
            "seconds_per_epoch": round(self.seconds / epochs, 3),
            "memory_mib": None if peak is None else round(peak, 1),
            "memory": "allocated" if gpu else "resident",
            "device": torch.cuda.get_device_name(self.device) if gpu else cpu_name(),
        }
