"""Seconds and memory of one inference, measured: by CUDA events on a GPU, by the wall clock on a CPU."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from repro.benchmarks.protocol import Protocol
from repro.engine.clock import hardware_label
from repro.engine.infer import SlidingWindow
from repro.layers.method import Method

_MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Timing:
    """``seconds`` of every run after ``warmup`` runs that are not kept.

    ``peak_memory_mib`` is the peak of what torch allocated on the GPU, weights included, or of the resident memory of
    the whole process on a CPU (``memory_kind`` says which); None where the system does not tell.
    """

    seconds: tuple[float, ...]
    warmup: int
    clock: str
    device: str
    threads: int
    torch: str
    peak_memory_mib: float | None
    memory_kind: str

    @property
    def median(self) -> float:
        """Median seconds."""
        return float(np.median(self.seconds))

    @property
    def p90(self) -> float:
        """The 90th percentile of the seconds (linear between runs)."""
        return float(np.percentile(self.seconds, 90))


@torch.no_grad()
def time_inference(
    method: Method, protocol: Protocol, classes: Sequence[str], device: str, *, repeat: int, warmup: int
) -> Timing:
    """Time sliding-window inference of one image as large as the canvas, from pixels to class indices.

    The image is noise from a fixed seed: no step's time depends on its content. Text features are computed in the
    warm-up and cached after.
    """
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)  # events belong to the current device
    method.to(device).eval()
    window = SlidingWindow(protocol)
    image = np.random.default_rng(0).integers(0, 256, (protocol.canvas, protocol.canvas, 3), dtype=np.uint8)
    measure = _cuda_seconds if on_gpu else _wall_seconds

    def once() -> object:
        return window.predict(method, image, classes)

    for _ in range(warmup):
        once()
    _forget_peak(device)
    seconds = tuple(measure(once) for _ in range(repeat))
    return Timing(
        seconds,
        warmup,
        "CUDA events" if on_gpu else "perf_counter",
        hardware_label(device),
        torch.get_num_threads(),
        torch.__version__,
        _peak_mib(device),
        "allocated by torch on the GPU" if on_gpu else "resident memory of the process",
    )


def _wall_seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _cuda_seconds(work: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def _forget_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts again from what is resident now


def _peak_mib(device: str) -> float | None:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / _MIB
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None
