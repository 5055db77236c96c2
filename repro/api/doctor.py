"""``repro doctor``: environment, hardware, versions, weights and what can run here."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from repro.configuration.profiles import load_profile, profile_names
from repro.console import stdout_to_stderr
from repro.errors import ReproError
from repro.hardware import cpu_count, cpu_name, memory_gib
from repro.mends import install
from repro.methods import registry
from repro.paths import DEFAULT_RUNS
from repro.runs.assets import Assets
from repro.runs.provenance import git_state, package_versions

OPTIONAL = {
    "mmseg": ("training", install("train")),
    "tensorboard": ("training curves in TensorBoard", install("train")),
    "mmengine": ("training", install("train")),
    "submitit": ("Slurm", install("slurm")),
    "detectron2": ("the detectron2 adapters", "install detectron2 from its source tree: docs/interop.md"),
}
"""What an optional package is for, and how it is installed."""


def examine(runs: Path = DEFAULT_RUNS) -> dict[str, Any]:
    """Return all facts about this machine and the weights in the store ``runs``, as plain JSON values."""
    with stdout_to_stderr():
        torch_facts = _torch()
    packages = {name: importlib.util.find_spec(name) is not None for name in OPTIONAL}
    free = runs.absolute()
    while not free.exists():
        free = free.parent
    return {
        "python": package_versions(),
        "git": git_state(),
        "cpu": {"name": cpu_name(), "cores": cpu_count(), "memory_gib": round(memory_gib(), 1)},
        "torch": torch_facts,
        "disk_free_gib": round(shutil.disk_usage(free).free / 2**30, 1),
        "optional": packages,
        "weights": _weights(runs),
        "methods": list(registry()),
        "can": {
            "evaluate": torch_facts["imports"],
            "train": torch_facts["imports"] and packages["mmseg"] and packages["mmengine"],
            "use a GPU": bool(torch_facts.get("gpus")),
            "compile LaTeX": shutil.which("pdflatex") is not None,
        },
    }


def _torch() -> dict[str, Any]:
    try:
        import torch

        from repro.runtime import import_torchvision

        import_torchvision()
    except (ImportError, ReproError, RuntimeError) as error:
        return {"imports": False, "error": str(error)}
    gpus = [
        {
            "name": torch.cuda.get_device_properties(i).name,
            "memory_gib": round(torch.cuda.get_device_properties(i).total_memory / 2**30, 1),
        }
        for i in range(torch.cuda.device_count())
    ]
    return {
        "imports": True,
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": gpus,
        "threads": torch.get_num_threads(),
    }


def _weights(runs: Path) -> dict[str, str]:
    """Return for each published tower of the profiles whether its weights are here, by title."""
    found = {}
    for assets in (Assets(load_profile(name), runs, None) for name in profile_names()):
        for key, tower in assets.profile.towers.items():
            if assets.kind_of(key).published:
                missing = assets.missing_tower(key)
                here = assets.tower_key(key)["weights"][:12]
                found[tower.title] = f"absent; {missing[0].mend}" if missing else f"present (sha256 {here})"
    return found
