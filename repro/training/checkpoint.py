"""Everything a training needs to resume as if it had never stopped, in one atomically replaced file."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from repro.errors import RunError, WeightsError
from repro.mends import make_again
from repro.methods.weights import describe_misfit, read_torch, save_torch

FORMAT = 1
FILE = "checkpoint.pth"


def rng_state() -> dict[str, Any]:
    """Return the state of every global random generator, in tensors and plain values only."""
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


def save_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Replace ``path`` by ``state`` of the training ``identity``; ResourceError on a full disk."""
    save_torch(path, {"format": FORMAT, "fingerprint": identity, **state})


def load_checkpoint(path: Path, identity: str, what: str = "checkpoints") -> dict[str, Any] | None:
    """Read the checkpoint ``path``; None where there is none.

    Raises RunError for one of another training than ``identity``, WeightsError for one that is damaged.
    """
    if not path.is_file():
        return None
    state = read_torch(path, own=True)
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("fingerprint") != identity:
        raise RunError(
            f"{path.parent} holds the checkpoint of another training",
            expected=f"settings, classes, images and seed of {identity}",
            found=state.get("fingerprint") if isinstance(state, dict) else type(state).__name__,
            mend=make_again(path, what),
        )
    return state


def check_fit(model: nn.Module, tensors: dict[str, Any], path: Path) -> None:
    """Raise WeightsError where the ``tensors`` of the checkpoint ``path`` are not those of ``model``."""
    if misfit := describe_misfit(model.state_dict(), tensors):
        raise WeightsError(f"{path} does not fit the model", found=misfit, mend=make_again(path, "checkpoints"))
