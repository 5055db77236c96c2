"""Training: mmengine's Runner and iteration loop, resumable to the bit, quiet on stdout.

A work folder holds ``checkpoint.pth`` while the training lasts, ``train.log``, ``losses.jsonl`` and ``tensorboard/``,
and in the end ``weights.pth``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from torch import nn
from torch.utils.data import DataLoader

from repro.data.sampler import StreamSampler
from repro.data.train_set import ImagePair, TrainSet, collate, start_worker
from repro.engine import processes
from repro.engine.checkpoint import FILE as CHECKPOINT
from repro.engine.checkpoint import load_checkpoint, set_rng_state
from repro.engine.determinism import deterministic
from repro.engine.divergence import UNLABELLED_STEPS, any_label, diverged, need_labels
from repro.engine.hooks import CheckpointHook, CurveHook, EvalHook, Evaluator, ProgressHook
from repro.engine.optim import AutocastOptimWrapper, build_optimizer, build_schedule
from repro.engine.settings import Placement, TrainSettings
from repro.engine.step import TrainModel
from repro.engine.weights import load_weights, read_header, save_weights
from repro.errors import DataError, ReproError, RunError, UsageError, command
from repro.files import storage_errors
from repro.layers.method import Method
from repro.mends import make_again

__all__ = ["load_weights", "train"]

WEIGHTS = "weights.pth"

# Settings that change how fast or how safely a training runs, not what comes out of it.
_WITHOUT_EFFECT = ("workers", "checkpoint_every", "log_every")


def train(
    method: Method,
    settings: TrainSettings,
    pairs: Sequence[ImagePair],
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
) -> Path:
    """Train ``method`` on ``pairs`` (labels index ``classes``, 255 ignored) and return the final weights file.

    A killed or interrupted training in ``work_dir`` continues from its last checkpoint and ends with the same bits
    (on a CPU); a finished one is loaded into ``method``. ``seed`` decides the order of samples, their augmentation
    and the global generators (dropout); the initial weights are the caller's. ``method_name`` is the id written to
    the weights file (default: the class name). ``evaluator`` is called every ``evaluate_every`` iterations.
    ``progress``: a bar on stderr (None: where stderr is a terminal). KeyboardInterrupt passes through.

    Where several processes are joined (:mod:`repro.engine.processes`) each takes its share of every batch, and the
    first one writes; every process must call. ``placement`` fits the training to the machine. Neither changes the
    losses but by rounding, and a training may be continued with another placement and number of processes.

    Raises DataError (unreadable or ill-fitting images, labels without a class), RunError (a loss or gradient that is
    not finite, naming the iteration; a folder of another training), WeightsError (corrupt checkpoint),
    ResourceError (disk full).
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

    curve = CurveHook(work_dir, settings.log_every, settings.iterations)
    bar = ProgressHook(settings.iterations, progress if processes.is_first() else False, f"train {name}")
    hooks = [curve, bar, CheckpointHook(work_dir, settings.checkpoint_every, fingerprint, curve)]
    if evaluator is not None and evaluate_every > 0:
        hooks.append(EvalHook(evaluator, evaluate_every, curve))
    model = TrainModel(method.to(device), tuple(classes), device, settings, seed, placement)
    runner = _Runner(model, settings, pairs, work_dir, seed, fingerprint, curve)
    try:
        for hook in hooks:
            runner.register_hook(hook)
        with deterministic(placement.deterministic):
            runner.train()
    finally:
        curve.close()
        bar.close()
        runner.close()
    method.eval()
    processes.on_first(lambda: _finish(method, final, name, fingerprint, settings, seed))
    return final


def _finish(method: Method, final: Path, name: str, fingerprint: str, settings: TrainSettings, seed: int) -> None:
    save_weights(method, final, name, fingerprint=fingerprint, iterations=settings.iterations, seed=seed)
    (final.parent / CHECKPOINT).unlink(missing_ok=True)


class _Loop(IterBasedTrainLoop):
    """mmengine's iteration loop entered at any iteration without replaying the batches before it."""

    def __init__(self, runner: _Runner, dataloader: DataLoader[Any], max_iters: int) -> None:
        # The parent's constructor starts the workers, too early for a resumed training.
        BaseLoop.__init__(self, runner, dataloader)
        self._max_iters, self._max_epochs, self._epoch, self._iter = max_iters, 1, 0, 0
        self.stop_training = False

    def run(self) -> nn.Module:
        sampler: StreamSampler = self.dataloader.sampler
        sampler.start = self._iter * self.dataloader.batch_size * processes.world()
        batches = iter(self.dataloader)
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        self.runner.restore_generators()  # last: everything before may draw random numbers
        self.runner.model.train()
        first, labelled = self._iter, False
        where = self.runner.folder, self.dataloader, self.runner.model.device
        while self._iter < self._max_iters:
            batch = next(batches)
            processes.agree(batch if isinstance(batch, ReproError) else None)
            labelled = labelled or any_label(batch)
            self.runner.seed_step(self._iter)
            try:
                self.run_iter(batch)
            except FloatingPointError as error:
                if first == 0 and processes.world() == 1:  # a mean over no pixel is no number either
                    need_labels(labelled, self._iter + 1, *where)
                batch_of = (self.runner.folder, self._iter + 1, batch, self.dataloader)
                raise diverged(*batch_of, str(error)) from error
            if first == 0 and self._iter == min(self._max_iters, UNLABELLED_STEPS):
                need_labels(labelled, self._iter, *where)
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        model: nn.Module = self.runner.model
        return model


class _Runner(Runner):
    """mmengine's Runner without its global side effects: one log file, no stdout, no folders by date, own resume."""

    def __init__(
        self,
        model: TrainModel,
        settings: TrainSettings,
        pairs: Sequence[ImagePair],
        work_dir: Path,
        seed: int,
        fingerprint: str,
        curve: CurveHook,
    ) -> None:
        self.folder, self.fingerprint, self.curve = work_dir, fingerprint, curve
        self._generators: dict[str, Any] | None = None
        device = model.device
        dataset = TrainSet(pairs, len(model.classes), settings, seed)
        optimizer = build_optimizer(model.method, settings)
        super().__init__(
            model=model,
            work_dir=str(work_dir),
            train_dataloader=_loader(dataset, settings, seed, device),
            train_cfg={"type": _Loop, "max_iters": settings.iterations},
            optim_wrapper=AutocastOptimWrapper(optimizer, settings.amp, device, settings.clip_grad_norm),
            param_scheduler=build_schedule(settings),
            default_hooks=dict.fromkeys(("runtime_info", "timer", "sampler_seed", "logger", "checkpoint")),
            randomness={"seed": seed},
            # Instances are global by name; close() removes this one's.
            experiment_name=f"repro-{fingerprint}-{id(self):x}",
        )

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        self._rank, self._world_size, self._timestamp = processes.rank(), processes.world(), ""

    def set_randomness(self, seed: int, diff_rank_seed: bool = False, deterministic: bool = False) -> None:
        self._seed, self._deterministic = seed, deterministic
        _seed_generators(seed)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        logger: MMLogger = MMLogger.get_instance(self._experiment_name, log_level=log_level)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        if not processes.is_first():
            logger.addHandler(logging.NullHandler())
            return logger
        with storage_errors(self.folder):
            handler = logging.FileHandler(self.folder / "train.log", mode="a")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        return logger

    def build_visualizer(self, visualizer: Any = None) -> None:
        return None  # the curve is written by CurveHook; mmengine's visualizer would import matplotlib

    def dump_config(self) -> None:
        return None

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        return model  # on its device already; mmengine would take a GPU whenever there is one

    def load_or_resume(self) -> None:
        state = processes.together(lambda: load_checkpoint(self, self.folder, self.fingerprint))
        self.train_loop._iter = iteration = int(state["iteration"]) if state is not None else 0
        processes.check_same(iteration, f"checkpoint in {self.folder}")
        if state is not None:
            self._generators = state["rng"]
            self.curve.restore(state["log"], iteration)
            self.logger.info(f"resumed after iteration {iteration}")
        self.model.join()

    def restore_generators(self) -> None:
        """Random generators as they were at the checkpoint, or seeded where there was none."""
        if self._generators is None:
            _seed_generators(self._seed)
        else:
            set_rng_state(self._generators)

    def seed_step(self, iteration: int) -> None:
        """Of several processes each draws numbers of its own, which depend on nothing but the step."""
        if processes.world() > 1:
            words = (self._seed, iteration, processes.rank())
            _seed_generators(int(np.random.SeedSequence(words).generate_state(1)[0]))

    def close(self) -> None:
        """Give back the log file and mmengine's global instances, so that trainings in one process do not meet."""
        for handler in list(self.logger.handlers):
            handler.close()
            self.logger.removeHandler(handler)
        for kind in (MMLogger, MessageHub, DefaultScope):
            kind._instance_dict.pop(self._experiment_name, None)


def _seed_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (methods and libraries may draw from it)
    torch.manual_seed(seed)


def _loader(dataset: TrainSet, settings: TrainSettings, seed: int, device: torch.device) -> DataLoader[Any]:
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


def _check(settings: TrainSettings, pairs: Sequence[ImagePair], classes: Sequence[str], placement: Placement) -> None:
    if not pairs:
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
            expected="a number of processes that divides the batch, and at least one image a part",
            found=f"{world} processes, each in {placement.accumulate} parts",
            mend="choose another --gpus or --accumulate",
        )


def _fingerprint(
    name: str, settings: TrainSettings, pairs: Sequence[ImagePair], classes: Sequence[str], seed: int
) -> str:
    """Twelve hex digits over what decides the outcome of a training, except the initial weights."""
    kept = {k: v for k, v in dataclasses.asdict(settings).items() if k not in _WITHOUT_EFFECT}
    payload = json.dumps([name, kept, [p.key for p in pairs], list(classes), seed], sort_keys=True)
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
