"""Training of a method, resumable to the bit, quiet on stdout.

A work folder holds ``checkpoint.pth`` while the training lasts, ``train.log``, ``losses.jsonl`` and what the back-ends
write, and in the end ``weights.pth``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from repro.captions.training_set import LabelFolder
from repro.errors import DataError, ReproError, RunError, UsageError, command
from repro.files import storage_errors
from repro.launch import processes
from repro.mends import make_again
from repro.methods.interface import Method
from repro.methods.weights import load_weights, read_header, save_weights
from repro.training.average import TailAverage
from repro.training.checkpoint import FILE as CHECKPOINT
from repro.training.checkpoint import check_fit
from repro.training.determinism import deterministic
from repro.training.divergence import UNLABELLED_STEPS, any_label, diverged, need_labels
from repro.training.loop import Checkpoints, Observer, Task, run, seed_generators
from repro.training.named_crops import NamedCrops
from repro.training.observers import Bar, Curve, EvaluateBetween, Evaluator, Schedule
from repro.training.optim import AutocastOptimWrapper, build_optimizer, build_schedulers
from repro.training.sampler import StreamSampler
from repro.training.settings import Placement, TrainSettings
from repro.training.step import TrainModel
from repro.training.train_set import ImagePair, TrainSet, collate, start_worker

__all__ = ["load_weights", "train"]

WEIGHTS = "weights.pth"

# Settings that change how fast or how safely a training runs, not what comes out of it.
_WITHOUT_EFFECT = ("workers", "checkpoint_every", "log_every")


def train(
    method: Method,
    settings: TrainSettings,
    pairs: Sequence[ImagePair] | LabelFolder,
    classes: Sequence[str],
    work_dir: Path,
    seed: int,
    progress: bool | None = None,
    device: torch.device | str = "cpu",
    *,
    method_name: str | None = None,
    placement: Placement | None = None,
    evaluator: Evaluator | None = None,
    evaluate_every: int = 0,
    observers: Sequence[Observer] = (),
) -> Path:
    """Train ``method`` on ``pairs`` (labels index ``classes``, 255 ignored) and return the final weights file.

    A folder of labels of captions in place of the pairs has no masks: ``classes`` is then its vocabulary, the classes
    of a step are those of its images, and the method's :meth:`~repro.methods.interface.Method.image_loss` is minimised.

    A killed or interrupted training in ``work_dir`` continues from its last checkpoint and ends with the same bits
    (on a CPU); a finished one is loaded into ``method``. ``seed`` decides the order of samples, their augmentation
    and the global generators (dropout); the initial weights are the caller's. ``method_name`` is the id written to
    the weights file (default: the class name). ``evaluator`` is called every ``evaluate_every`` iterations.
    ``progress``: a bar on stderr (None: where stderr is a terminal). ``observers`` see every step. KeyboardInterrupt
    passes through.

    Where several processes are joined (:mod:`repro.launch.processes`) each takes its share of every batch, and the
    first one writes; every process must call. ``placement`` fits the training to the machine. Neither changes the
    losses but by rounding, and a training may be continued with another placement and number of processes.

    Raises DataError (unreadable or ill-fitting images, labels without a class), RunError (a loss or gradient that is
    not finite; a folder of another training), WeightsError (corrupt checkpoint), ResourceError (disk full).
    """
    placement = placement or Placement()
    _check(settings, pairs, classes, placement)
    device, work_dir, name = torch.device(device), Path(work_dir), method_name or type(method).__name__
    with storage_errors(work_dir):
        work_dir.mkdir(parents=True, exist_ok=True)
    fingerprint = _fingerprint(name, settings, pairs, classes, seed)
    final = work_dir / WEIGHTS
    if processes.on_first(final.is_file):
        _refuse_other(final, fingerprint)
        load_weights(method, final, name)
        method.to(device).eval()
        return final

    named = isinstance(pairs, LabelFolder)
    model = TrainModel(method.to(device), tuple(classes), device, settings, seed, placement, named=named)
    training = _Training(model, settings, pairs, work_dir, seed, placement)
    bar = Bar(settings.iterations, progress if processes.is_first() else False, f"train {name}")
    watching: list[Observer] = [training.curve, bar, Schedule(training.schedulers)]
    if evaluator is not None and evaluate_every > 0:
        watching.append(EvaluateBetween(model, evaluator, evaluate_every, training.curve))
    watching += observers
    checkpoints = Checkpoints(work_dir / CHECKPOINT, fingerprint, settings.checkpoint_every)
    with deterministic(placement.deterministic):
        run(training, checkpoints, watching, seed=seed)
    method.eval()
    training.average.put()
    processes.on_first(lambda: _finish(method, final, name, fingerprint, settings, seed))
    return final


def _finish(method: Method, final: Path, name: str, fingerprint: str, settings: TrainSettings, seed: int) -> None:
    save_weights(method, final, name, fingerprint=fingerprint, iterations=settings.iterations, seed=seed)
    (final.parent / CHECKPOINT).unlink(missing_ok=True)


class _Training(Task[dict[str, Any]]):
    """A method's training as the loop takes it."""

    def __init__(
        self,
        model: TrainModel,
        settings: TrainSettings,
        pairs: Sequence[ImagePair] | LabelFolder,
        folder: Path,
        seed: int,
        placement: Placement,
    ) -> None:
        self.model, self.folder, self.total, self._seed = model, folder, settings.iterations, seed
        dataset: TrainSet | NamedCrops
        if isinstance(pairs, LabelFolder):
            dataset = NamedCrops(pairs, settings.crop, seed)
        else:
            dataset = TrainSet(pairs, len(model.classes), settings, seed)
        self.loader = _loader(dataset, settings, seed, model.device)
        optimizer = build_optimizer(model.method, settings)
        self.optim = AutocastOptimWrapper(optimizer, settings.amp, model.device, settings.clip_grad_norm)
        self.schedulers = build_schedulers(self.optim, settings)
        self.curve = Curve(folder, settings.log_every, self.total, self.optim, _logger(folder), placement.vis_backends)
        self.average = TailAverage(model.method.parameters(), math.floor(settings.average_from * self.total))
        self._first, self._labelled = 0, False

    def begin(self, first: int) -> None:
        self._first = first
        if first:
            self.curve.log.info(f"resumed after iteration {first}")
        self.model.join()
        self.model.train()

    def batches(self, first: int) -> Iterator[dict[str, Any] | ReproError]:
        sampler: StreamSampler = self.loader.sampler  # type: ignore[assignment]
        sampler.start = first * (self.loader.batch_size or 1) * processes.world()
        return iter(self.loader)

    def step(self, number: int, batch: dict[str, Any]) -> dict[str, float]:
        self._labelled = self._labelled or any_label(batch)
        if processes.world() > 1:  # each draws numbers of its own, which depend on nothing but the step
            words = (self._seed, number, processes.rank())
            seed_generators(int(np.random.SeedSequence(words).generate_state(1)[0]))
        where = self.folder, self.loader, self.model.device
        try:
            figures = self.model.train_step(batch, self.optim)
        except FloatingPointError as error:
            if self._first == 0 and processes.world() == 1:  # a mean over no pixels is NaN too
                need_labels(self._labelled, number + 1, *where)
            raise diverged(self.folder, number + 1, batch, self.loader, str(error)) from error
        if self._first == 0 and number + 1 == min(self.total, UNLABELLED_STEPS):
            need_labels(self._labelled, number + 1, *where)
        self.average.add(number + 1)
        return figures

    def state(self) -> dict[str, Any]:
        return {
            "state_dict": self.model.state_dict(),
            "optimizer": self.optim.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "log": self.curve.state(),
            "average": self.average.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        check_fit(self.model, state["state_dict"], self.folder / CHECKPOINT)
        self.model.load_state_dict(state["state_dict"])
        self.optim.load_state_dict(state["optimizer"])
        for scheduler, kept in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(kept)
        self.curve.restore(state["log"], int(state["iteration"]))
        if "average" in state:  # checkpoints of earlier versions have none, and average nothing
            self.average.restore(state["average"])


def _logger(folder: Path) -> logging.Logger:
    """Open the log file of a training; one that no other training in this process shares, and that prints nothing."""
    logger = logging.Logger("repro.train", logging.INFO)
    handler: logging.Handler = logging.NullHandler()
    if processes.is_first():
        with storage_errors(folder):
            handler = logging.FileHandler(folder / "train.log", mode="a")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    return logger


def _loader(
    dataset: TrainSet | NamedCrops, settings: TrainSettings, seed: int, device: torch.device
) -> DataLoader[Any]:
    rank, world = processes.rank(), processes.world()
    sampler = StreamSampler(len(dataset), settings.iterations * settings.batch_size, seed, rank, world)
    return DataLoader(
        dataset,
        batch_size=settings.batch_size // world,
        sampler=sampler,
        num_workers=settings.workers,
        collate_fn=collate,
        drop_last=True,
        pin_memory=device.type == "cuda",
        worker_init_fn=start_worker if settings.workers else None,
    )


def _check(
    settings: TrainSettings, pairs: Sequence[ImagePair] | LabelFolder, classes: Sequence[str], placement: Placement
) -> None:
    if not isinstance(pairs, LabelFolder) and not pairs:
        raise DataError(
            "no image to train on", mend=command("repro", "data", "prepare", "coco-stuff", "--data-root", "DIR")
        )
    if not classes:
        raise UsageError("no class to train on", expected="at least one class name")
    for field in ("iterations", "batch_size", "short_side", "crop", "checkpoint_every", "log_every"):
        if getattr(settings, field) < 1:
            raise UsageError(f"training setting {field} must be positive", found=getattr(settings, field))
    world = processes.world()
    if settings.batch_size % world or not 1 <= placement.accumulate <= settings.batch_size // world:
        raise UsageError(
            f"a batch of {settings.batch_size} images cannot be divided in this way",
            expected="a number of processes that divides the batch, and at least one image per part",
            found=f"{world} processes, each in {placement.accumulate} parts",
            mend="choose another --gpus or --accumulate",
        )


def _fingerprint(
    name: str, settings: TrainSettings, pairs: Sequence[ImagePair] | LabelFolder, classes: Sequence[str], seed: int
) -> str:
    """Return twelve hex digits over what decides the outcome of a training, except the initial weights."""
    kept = {k: v for k, v in settings.facts().items() if k not in _WITHOUT_EFFECT}
    images = pairs.content if isinstance(pairs, LabelFolder) else [p.key for p in pairs]
    payload = json.dumps([name, kept, images, list(classes), seed], sort_keys=True)
    return hashlib.sha256(payload.encode()).hexdigest()[:12]


def _refuse_other(final: Path, fingerprint: str) -> None:
    found = read_header(final).get("fingerprint")
    if found != fingerprint:
        raise RunError(
            f"{final.parent} holds the weights of another training",
            expected=f"settings, classes, images and seed of {fingerprint}",
            found=found,
            mend=make_again(final, "weights,checkpoints"),
        )
