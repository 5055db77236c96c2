"""What a stranger needs to believe a number: code state, packages, hardware, data and weights, command."""

from __future__ import annotations

import datetime
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import repro
from repro.hardware import cpu_count, cpu_name, memory_gib
from repro.paths import PACKAGE

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "mmengine",
    "mmcv-lite",
    "onedl-mmsegmentation",
    "numpy",
    "scipy",
    "pandas",
    "pillow",
    "opencv-python",
)


def provenance(device: str) -> dict[str, Any]:
    """Return facts about this process, as plain JSON values; no folder of the machine is named in it."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "repro": repro.__version__,
        "git": git_state(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "hardware": hardware(device),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def package_versions() -> dict[str, str | None]:
    """Return installed versions of the packages that decide numbers; None where one is absent."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@cache
def git_state() -> dict[str, Any] | None:
    """Return commit and cleanness of the checkout the package runs from; None for an installed wheel."""

    def git(*arguments: str) -> str:
        result = subprocess.run(
            ["git", "-C", str(PACKAGE.parent), *arguments], capture_output=True, text=True, check=True, timeout=20
        )
        return result.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (subprocess.SubprocessError, OSError):
        return None


def hardware(device: str) -> dict[str, Any]:
    """Return the hardware that computes, with a label for tables; ``device`` is ``cpu`` or ``cuda[:n]``."""
    facts: dict[str, Any] = {"cpu": cpu_name(), "cores": cpu_count(), "memory_gib": round(memory_gib(), 1)}
    if device.startswith("cuda"):
        import torch

        properties = torch.cuda.get_device_properties(device)
        facts["gpu"] = properties.name
        facts["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
        facts["label"] = properties.name
    else:
        facts["label"] = f"CPU, {facts['cores']} cores"
    return facts
