"""What is kept of a training whose loss or gradient is no number any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from repro.data.sampler import StreamSampler
from repro.data.train_set import TrainSet
from repro.engine.weights import save_torch
from repro.errors import ReproError, RunError

FILE = "diverged.pth"


def diverged(folder: Path, iteration: int, batch: Any, loader: Any, values: str) -> RunError:
    """The error for a non-finite loss or gradient at ``iteration`` (from 1), with the batch saved for inspection.

    ``folder``/diverged.pth then holds, readable with ``torch.load(weights_only=True)``: ``iteration``, ``values`` (the
    losses as text), ``images`` (the paths), and the batch as the method got it: ``image`` uint8 RGB (B, 3, S, S),
    ``label`` uint8 (B, S, S), ``position`` in the stream (B,).
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
    if not (isinstance(sampler, StreamSampler) and isinstance(data, TrainSet) and isinstance(positions, Tensor)):
        return []
    return [str(data.pairs[sampler.index_at(int(p))].image) for p in positions]
