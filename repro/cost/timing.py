"""Seconds and memory of one inference, measured: by CUDA events on a GPU, by the wall clock on a CPU."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from repro.clip.tower import ClipTower
from repro.clock import hardware_label
from repro.cost.machine import clocks, machine_facts
from repro.cost.stages import WINDOWS, StageTimes
from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow
from repro.layers.parallel import serial
from repro.methods.interface import Method
from repro.methods.speedups import Speedups, float32_products, speed_up

_MIB = 2**20
GPU_RUNS, CPU_RUNS = (10, 50), (3, 10)
"""Runs to warm up and runs that are measured; on a GPU fewer are called a trial."""
STAGE_RUNS = 5
"""A measured run in so many is repeated with its stages told apart, at least three."""


def default_runs(device: torch.device | str) -> tuple[int, int]:
    """Return the numbers of warm-up runs and of measured runs on ``device``."""
    return GPU_RUNS if torch.device(device).type == "cuda" else CPU_RUNS


@dataclasses.dataclass(frozen=True)
class Timing:
    """``seconds`` of every run (of ``batch`` images) after ``warmup`` runs that are not kept.

    ``peak_memory_mib`` is the peak of what torch allocated on the GPU, weights included, or of the resident memory of
    the whole process on a CPU (``memory_kind`` says which); ``idle_memory_mib`` the same before the first inference;
    None where the system does not tell. ``stages`` are median seconds of runs of their own, None where the pass has no
    stages (compiled, captured). ``clocks`` are read right after the last run. ``cpu_seconds``, on a CPU, are what the
    process computed in each run, all threads together: what is left of a timing on a machine that others use too.
    """

    seconds: tuple[float, ...]
    warmup: int
    clock: str
    device: str
    threads: int
    torch: str
    peak_memory_mib: float | None
    memory_kind: str
    batch: int = 1
    idle_memory_mib: float | None = None
    stages: dict[str, float] | None = None
    machine: dict[str, Any] = dataclasses.field(default_factory=dict)
    clocks: dict[str, float | None] = dataclasses.field(default_factory=dict)
    cpu_seconds: tuple[float, ...] | None = None

    @property
    def median(self) -> float:
        """Median seconds."""
        return self.percentile(50)

    @property
    def p10(self) -> float:
        """The 10th percentile of the seconds."""
        return self.percentile(10)

    @property
    def p90(self) -> float:
        """The 90th percentile of the seconds."""
        return self.percentile(90)

    @property
    def cpu_median(self) -> float | None:
        """Median of the CPU seconds, None on a GPU."""
        return float(np.median(self.cpu_seconds)) if self.cpu_seconds else None

    @property
    def trial(self) -> bool:
        """Too few runs on a GPU to be believed."""
        return self.clock == GPU_CLOCK and (self.warmup < GPU_RUNS[0] or len(self.seconds) < GPU_RUNS[1])

    def percentile(self, percent: float) -> float:
        """Interpolate linearly between runs."""
        return float(np.percentile(self.seconds, percent))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data, with what is derived."""
        derived = {name: getattr(self, name) for name in ("median", "p10", "p90", "trial", "cpu_median")}
        return {**dataclasses.asdict(self), "seconds": list(self.seconds), **derived}


GPU_CLOCK, CPU_CLOCK = "CUDA events", "perf_counter"


def time_inference(
    method: Method,
    protocol: Protocol,
    classes: Sequence[str],
    device: str,
    *,
    repeat: int,
    warmup: int,
    batch: int = 1,
    speedups: Speedups | None = None,
    stages: bool = True,
) -> Timing:
    """Time sliding-window inference of ``batch`` images as large as the canvas, from pixels to class indices.

    The images are noise from a fixed seed and text features are drawn: no step's time depends on values, and in an
    evaluation text features are computed once. Products are in full float32 unless ``speedups`` say otherwise.
    """
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)  # events belong to the current device
    speedups = speedups or Speedups()
    fast = speed_up(method.eval(), speedups, device).to(device).eval()
    window = SlidingWindow(protocol)
    image = np.random.default_rng(0).integers(0, 256, (protocol.canvas, protocol.canvas, 3), dtype=np.uint8)
    size = (protocol.canvas, protocol.canvas)
    measure = _cuda_seconds if on_gpu else _wall_seconds

    def once() -> None:
        for logits in window.logits(fast, [window.resize(image) for _ in range(batch)], classes):
            window.labels(fast, logits, size)

    with torch.no_grad(), float32_products(speedups.tf32), drawn_text(fast):
        forget_peak(device, free=True)
        idle = peak_mib(device)
        for _ in range(warmup):
            once()
        forget_peak(device)
        seconds, used = [], []
        for _ in range(repeat):
            begin = time.process_time()
            seconds.append(measure(once))
            used.append(time.process_time() - begin)
        rates, peak = clocks(device), peak_mib(device)
        found = None
        if stages and not (speedups.compile or speedups.graphs):
            found = _stage_seconds(fast, device, once, max(3, repeat // STAGE_RUNS))
    return Timing(
        tuple(seconds),
        warmup,
        GPU_CLOCK if on_gpu else CPU_CLOCK,
        hardware_label(device),
        torch.get_num_threads(),
        torch.__version__,
        peak,
        "allocated by torch on the GPU" if on_gpu else "resident memory of the process",
        batch,
        idle,
        found,
        machine_facts(device),
        rates,
        None if on_gpu else tuple(used),
    )


def forward_share(stages: dict[str, float] | None, stage: str) -> float | None:
    """Return the share of ``stage`` in a method's forward pass (all stages but the windows around it); None if none."""
    if not stages or stage not in stages:
        return None
    return stages[stage] / sum(seconds for name, seconds in stages.items() if name != WINDOWS)


@contextlib.contextmanager
def drawn_text(method: Method) -> Iterator[None]:
    """Use unit vectors from a fixed seed in place of text features, one set per number of names."""
    with contextlib.ExitStack() as leave:
        for tower in (m for m in method.modules() if isinstance(m, ClipTower)):
            drawn: dict[int, torch.Tensor] = {}

            def text(
                names: Sequence[str], template: str, tower: ClipTower = tower, drawn: dict[int, torch.Tensor] = drawn
            ) -> torch.Tensor:
                if len(names) not in drawn:
                    generator = torch.Generator().manual_seed(len(names))
                    features = torch.randn(len(names), tower.embed_dim, generator=generator)
                    drawn[len(names)] = F.normalize(features, dim=1).to(tower.mean.device)
                return drawn[len(names)]

            tower.text = text
            leave.callback(delattr, tower, "text")
        yield


def _stage_seconds(method: Method, device: str, work: Callable[[], object], repeat: int) -> dict[str, float]:
    runs = []
    for _ in range(repeat):
        with serial(), StageTimes(method, device) as times:  # a part of two stages would be in both
            work()
        runs.append(times.seconds())
    return {stage: float(np.median([run[stage] for run in runs])) for stage in runs[0]}


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


def forget_peak(device: str, *, free: bool = False) -> None:
    """Let the peak start again; with ``free`` what was freed but kept for later use is given back first."""
    if device.startswith("cuda"):
        if free:
            torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    if free and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM starts again from what is resident now


def peak_mib(device: str) -> float | None:
    """Return peak MiB since :func:`forget_peak`: allocated by torch on a GPU, resident on a CPU (None: not known)."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / _MIB
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None
