"""The loop of every training: from where it stopped to its end, with checkpoints between, ended cleanly.

A training is a :class:`Task`: steps over a stream that can be entered anywhere, and a state that can be put back.
Methods, alignments and the tiny CLIP are trained by it.
"""

from __future__ import annotations

import dataclasses
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from repro import preemption
from repro.errors import ReproError
from repro.launch import processes
from repro.training.checkpoint import load_checkpoint, rng_state, save_checkpoint, set_rng_state

B = TypeVar("B")
Figures = Mapping[str, float]


class Task(ABC, Generic[B]):
    """What is trained. ``total`` is its number of steps, ``batch`` one item of its stream."""

    total: int

    @abstractmethod
    def batches(self, first: int) -> Iterator[B | ReproError]:
        """Open the stream at step ``first`` (from 0); an error in place of a batch stops all processes."""

    @abstractmethod
    def step(self, number: int, batch: B) -> Figures:
        """Take step ``number`` (from 0) and return figures for who watches."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to continue, in tensors and plain values; not the random generators."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Put back :meth:`state`; WeightsError where it does not fit."""

    def begin(self, first: int) -> None:
        """Get ready after the state is back; the random generators are put back or seeded after this."""


class Observer:
    """What is done around the steps of a training. Kept in the order given; each is closed at the end."""

    def start(self, done: int) -> None:
        """Prepare, once, after ``done`` steps of earlier processes."""

    def before(self, number: int) -> None:
        """Act before step ``number`` (from 0), when its batch is there."""

    def after(self, done: int, figures: Figures) -> None:
        """Act after the step that makes it ``done`` of them."""

    def close(self) -> None:
        """Clean up at the end, also after an error."""


Progress = Callable[[int, int, Figures], None]
"""Called with (steps done, steps in all, figures) after every step."""


class Told(Observer):
    """Tells a function of every step."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total = progress, total

    def after(self, done: int, figures: Figures) -> None:
        if processes.is_first():
            self.progress(done, self.total, figures)


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The ``file`` replaced ``every`` so many steps; one of another ``identity`` is refused.

    ``what`` names the kind of file as ``repro runs gc --what`` does.
    """

    file: Path
    identity: str
    every: int
    what: str = "checkpoints"


def run(task: Task[Any], checkpoints: Checkpoints, observers: Sequence[Observer] = (), *, seed: int = 0) -> float:
    """Take all steps that are left of ``task``; the seconds it took, those of earlier processes included.

    Global random generators are seeded by ``seed``, or put back as they were at the checkpoint, right before the first
    step: an ended training ends with the bits of one that was not. Where several processes are joined every one must
    call, and the first one writes. Raises what a step raises, RunError for a checkpoint of another training,
    WeightsError for one that is damaged, Preempted after a signal (the checkpoint is written before).
    """
    started = time.monotonic()
    state = processes.together(lambda: load_checkpoint(checkpoints.file, checkpoints.identity, checkpoints.what))
    first = 0 if state is None else int(state["iteration"])
    processes.check_same(first, f"checkpoint in {checkpoints.file.parent}")
    spent = 0.0
    if state is not None:
        task.restore(state)
        spent = float(state.get("seconds", 0.0))
    try:
        task.begin(first)
        stream = task.batches(first)
        for observer in observers:
            observer.start(first)
        seed_generators(seed) if state is None else set_rng_state(state["rng"])
        for number in range(first, task.total):
            batch = next(stream)
            processes.agree(batch if isinstance(batch, ReproError) else None)
            for observer in observers:
                observer.before(number)
            figures = task.step(number, batch)
            for observer in observers:
                observer.after(number + 1, figures)
            _keep(task, checkpoints, number + 1, lambda: spent + time.monotonic() - started)
    finally:
        for observer in observers:
            observer.close()
    return spent + time.monotonic() - started


def _keep(task: Task[Any], checkpoints: Checkpoints, done: int, seconds: Any) -> None:
    """Write the checkpoint where it is due or a scheduler asked to end (:mod:`repro.preemption`), and then end."""
    ending = _asked_to_end()
    if (done % checkpoints.every == 0 or ending) and done < task.total:
        state = {"iteration": done, "seconds": seconds(), "rng": rng_state(), **task.state()}
        processes.on_first(lambda: save_checkpoint(checkpoints.file, checkpoints.identity, state))
    if ending and done < task.total:
        preemption.end(ending)


def _asked_to_end() -> str:
    """Name the signal that asked this or another process of the training to end; all processes get the same answer."""
    asked = preemption.requested()
    return asked or ("a signal to another process" if processes.in_any(bool(asked)) else "")


def seed_generators(seed: int) -> None:
    """Seed every global generator: methods and libraries may draw from any."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
