"""Everything a training needs to go on as if it had never stopped, in one atomically replaced file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner

from repro.engine.weights import describe_misfit, read_torch, save_torch
from repro.errors import RunError, WeightsError
from repro.mends import make_again

FORMAT = 1
FILE = "checkpoint.pth"


def rng_state() -> dict[str, Any]:
    """The state of every global random generator, in tensors and plain values only."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (saved, not drawn from)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what :func:`rng_state` took (GPU generators only where there are as many GPUs)."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))


def save_checkpoint(runner: Runner, folder: Path, fingerprint: str, iteration: int, log: dict[str, Any]) -> None:
    """Replace ``folder``/checkpoint.pth by the state after ``iteration`` iterations; ResourceError on a full disk."""
    state = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "iteration": iteration,
        "state_dict": runner.model.state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
        "rng": rng_state(),
        "log": log,
    }
    save_torch(folder / FILE, state)


def load_checkpoint(runner: Runner, folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """Restore model, optimiser and schedules from ``folder`` and return the checkpoint; None when there is none.

    The caller restores the random generators last (:func:`set_rng_state`), after everything that draws from them.
    Raises RunError for a checkpoint of another training, WeightsError for one that is corrupt or does not fit.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    state = read_torch(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("fingerprint") != fingerprint:
        raise RunError(
            f"{folder} holds the checkpoint of another training",
            expected=f"settings, classes, images and seed of {fingerprint}",
            found=state.get("fingerprint") if isinstance(state, dict) else type(state).__name__,
            mend=make_again(path, "checkpoints"),
        )
    misfit = describe_misfit(runner.model.state_dict(), state["state_dict"])
    if misfit:
        raise WeightsError(f"{path} does not fit the model", found=misfit, mend=make_again(path, "checkpoints"))
    runner.model.load_state_dict(state["state_dict"])
    runner.optim_wrapper.load_state_dict(state["optimizer"])
    for scheduler, scheduler_state in zip(runner.param_schedulers, state["schedulers"], strict=True):
        scheduler.load_state_dict(scheduler_state)
    return state
