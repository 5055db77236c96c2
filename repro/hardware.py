"""What this machine is made of, without importing anything heavy."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

from repro.errors import ResourceError, UsageError


def cpu_name() -> str:
    """Return the processor's model name, or the machine's architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_count() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Return physical memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def free_memory_gib() -> float:
    """Return the memory that a new process may take, in GiB: what is free, and within the limit of its group."""
    free = memory_gib()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 2**20
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        group = Path("/sys/fs/cgroup")
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, (limit - used) / 2**30)
    return free


def choose_device(name: str) -> str:
    """Choose ``cpu`` or ``cuda[:n]``; ResourceError where a GPU is asked for and there is none."""
    if name == "cpu":
        return "cpu"
    if name != "auto" and not name.startswith("cuda"):
        raise UsageError(f"unknown device {name!r}", expected="auto, cpu, cuda or cuda:N", mend="repro doctor")
    import torch

    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    number = name.partition(":")[2] or "0"
    if name.partition(":")[0] != "cuda" or not number.isdecimal():
        raise UsageError(f"unknown device {name!r}", expected="auto, cpu, cuda or cuda:N", mend="repro doctor")
    index = int(number)
    if not available or index >= torch.cuda.device_count():
        raise ResourceError(
            f"no such GPU: {name}",
            expected="a CUDA device that torch can see",
            found=f"{torch.cuda.device_count() if available else 0} CUDA devices",
            mend="repro doctor, or --device cpu",
        )
    return name
