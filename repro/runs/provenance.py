"""What a stranger needs to believe a number: code state, packages, hardware, data and weights, command."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
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
        "command": command_line(sys.argv),
    }


def command_line(words: Sequence[str]) -> str:
    """Return the words of a call as one line that names no folder of the machine.

    An absolute path below the current folder becomes relative to it; any other becomes ``DIR``, or ``FILE`` where its
    name has an ending. All other words stay as they were given, lists and values behind ``=`` included.
    """
    return " ".join([Path(words[0]).name, *(_ABSOLUTE.sub(_named, word) for word in words[1:])])


_ABSOLUTE = re.compile(r"(?:^|(?<=[=,]))/[^,]*")
"""An absolute path that is a word, an entry of a list ``a,b`` or the value of ``name=value``."""


def _named(found: re.Match[str]) -> str:
    path = Path(os.path.normpath(found[0]))
    if path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return "FILE" if path.suffix else "DIR"


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
    """Describe the hardware that computes, with a label for tables; ``device`` is ``cpu`` or ``cuda[:n]``."""
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
