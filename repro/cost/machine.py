"""The machine a timing was made on, as far as it tells: device, driver, versions, clocks, how busy it was."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from repro.clock import hardware_label
from repro.hardware import cpu_count, cpu_name, memory_gib

GPU_FIELDS = {
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "max_sm_mhz": "clocks.max.sm",
    "power_w": "power.draw",
    "temperature_c": "temperature.gpu",
}
"""Our name -> nvidia-smi's."""


def machine_facts(device: torch.device | str) -> dict[str, Any]:
    """Return device, driver, versions, threads and the time; None for what this machine does not tell.

    ``kind`` is ``GPU`` or ``CPU``.
    """
    on_gpu = torch.device(device).type == "cuda"
    return {
        "kind": "GPU" if on_gpu else "CPU",
        "device": hardware_label(device),
        "cpu": cpu_name(),
        "cores": cpu_count(),
        "memory_gib": round(memory_gib(), 1),
        "gpu_memory_gib": round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1) if on_gpu else None,
        "driver": _nvidia_smi(device).get("driver") if on_gpu else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def clocks(device: torch.device | str) -> dict[str, float | None]:
    """Return clock rates (MHz) now, with a GPU's power and temperature, and the load average of the last minute.

    On a CPU the mean rate of its cores where the system tells it.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if torch.device(device).type == "cuda":
        found = _nvidia_smi(device)
        return {"load": load, **{name: _number(found.get(name)) for name in GPU_FIELDS if name != "driver"}}
    rates: list[float] = []
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        rates = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return {"load": load, "cpu_mhz": sum(rates) / len(rates) if rates else None}


def _nvidia_smi(device: torch.device | str) -> dict[str, str]:
    """Return what nvidia-smi says of ``device``; empty where it is absent or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    index = torch.device(device).index
    chosen = str(torch.cuda.current_device() if index is None else index)
    with contextlib.suppress(AttributeError):  # CUDA_VISIBLE_DEVICES renumbers torch's devices, not nvidia-smi's
        chosen = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    query = [program, f"--query-gpu={','.join(GPU_FIELDS.values())}", "--format=csv,noheader,nounits", f"--id={chosen}"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        line = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
        return dict(zip(GPU_FIELDS, (word.strip() for word in line.split(",")), strict=False))
    return {}


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:  # "[N/A]"
        return None
