"""What is kept of a training whose loss or gradient is no longer finite, and labels that teach nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from repro.errors import DataError, ReproError, RunError, command
from repro.launch import processes
from repro.methods.weights import save_torch
from repro.training.checkpoint import FILE as CHECKPOINT
from repro.training.named_crops import NamedCrops
from repro.training.pipeline import IGNORED
from repro.training.sampler import StreamSampler
from repro.training.train_set import TrainSet

FILE = "diverged.pth"
UNLABELLED_STEPS = 100
"""After so many steps, or at the end of a shorter training, one labelled pixel must have been seen."""


def diverged(folder: Path, iteration: int, batch: Any, loader: Any, values: str) -> RunError:
    """Return the error for a non-finite loss or gradient at ``iteration`` (from 1), the batch saved for inspection.

    ``folder``/diverged.pth then holds, readable with ``torch.load(weights_only=True)``: ``iteration``, ``values`` (the
    losses as text), ``images`` (the paths), and the batch as the method got it: ``image`` uint8 RGB (B, 3, S, S),
    ``label`` uint8 (B, S, S) or numbers of classes ``named`` (B, most), ``position`` in the stream (B,).
    """
    path = folder / FILE
    try:
        save_torch(path, {"iteration": iteration, "values": values, "images": _images(batch, loader), **batch})
        where = f"; look at the batch in {path}"
    except ReproError as error:  # the disk is full as well: the divergence is the news
        where = f"; its batch could not be saved ({error.message})"
    return RunError(
        f"training diverged at iteration {iteration}: {values}",
        expected="finite losses and gradients",
        found=values,
        mend=f"lower lr, lengthen warm-up or use amp off; the last good checkpoint is kept{where}",
    )


def _images(batch: Any, loader: Any) -> list[str]:
    sampler, data, positions = loader.sampler, loader.dataset, batch.get("position")
    known = isinstance(data, TrainSet | NamedCrops)
    if not (isinstance(sampler, StreamSampler) and known and isinstance(positions, Tensor)):
        return []
    return [data.place(sampler.index_at(int(p))) for p in positions]


def any_label(batch: Mapping[str, Tensor]) -> bool:
    """Tell whether a pixel of the batch has a class; an image without a mask always has one."""
    return "label" not in batch or bool((batch["label"] != IGNORED).any())


def need_labels(labelled: bool, steps: int, folder: Path, loader: DataLoader[Any], device: torch.device) -> None:
    """Raise DataError where no process has seen a labelled pixel in its first ``steps`` batches.

    The checkpoint of such a training is removed: continued, it would end as if nothing were wrong.
    """
    if processes.total(torch.tensor(int(labelled), device=device)).item():
        return
    processes.on_first(lambda: (folder / CHECKPOINT).unlink(missing_ok=True))
    crops = steps * (loader.batch_size or 1) * processes.world()
    raise DataError(
        f"no pixel of the first {crops} training crops has a class: nothing is learned from them",
        expected=f"labels of classes, not {IGNORED} alone",
        found="ignored pixels only",
        mend=command("repro", "data", "verify", "coco-stuff", "--data-root", "DIR", "--split", "train"),
    )
