"""Seconds per stage of a long loop, correct on a GPU too, and the name of the machine they were measured on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import torch

from repro.hardware import cpu_name


class StageClock:
    """Adds up wall seconds by stage name: ``with clock("forward"): ...``; stages may run in several threads.

    On a CUDA ``device`` the stream is waited for at both ends, else a stage would be charged for its neighbour.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._wait()
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.add(stage, time.perf_counter() - begin)

    def add(self, stage: str, seconds: float) -> None:
        """Charge ``seconds`` to ``stage``."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def hardware_label(device: torch.device | str) -> str:
    """Return a short name of what computes: the GPU, or the CPU and the number of threads torch uses."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"
