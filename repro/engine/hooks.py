"""What happens around a training iteration: curve and log, progress bar, evaluation, checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine import dist
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

from repro import preemption
from repro.engine import processes
from repro.engine.checkpoint import rng_state, save_checkpoint, set_rng_state
from repro.files import storage_errors, write_text
from repro.layers.method import Method

Evaluator = Callable[[Method, int], Mapping[str, float]]
"""Called as evaluator(method, iteration); returns scalars to log."""


class CurveHook(Hook):
    """The loss curve: one JSON line every ``every`` iterations in losses.jsonl, the log file and TensorBoard.

    A line holds the means since the line before (losses, grad_norm), each group's learning rate at that iteration,
    and the seconds an iteration took. A resumed training drops the lines after its checkpoint, so that the file
    reads as if it had never stopped. Without the package tensorboard its files are left out. Of several processes the
    first one writes, and what it writes is about the whole batch.
    """

    priority = "NORMAL"

    def __init__(self, folder: Path, every: int, total: int) -> None:
        self.path, self.folder, self.every, self.total = folder / "losses.jsonl", folder, every, total
        self.sums: dict[str, float] = {}
        self.count = 0
        self.board: Any = None
        self._since = time.perf_counter()
        self._in_step = 0.0
        self._step_begin = 0.0

    def state(self) -> dict[str, Any]:
        """What belongs in a checkpoint so that a mean over an interrupted interval comes out the same."""
        return {"sums": dict(self.sums), "count": self.count}

    def restore(self, state: dict[str, Any], iteration: int) -> None:
        """Take back :meth:`state` and cut the curve after ``iteration``."""
        self.sums, self.count = dict(state["sums"]), int(state["count"])
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        kept = []
        for line in lines:
            try:
                if json.loads(line)["iteration"] <= iteration:
                    kept.append(line)
            except ValueError:  # the last line of a killed process may be half a line
                break
        if processes.is_first():
            write_text(self.path, "".join(line + "\n" for line in kept))

    def before_train(self, runner: Runner) -> None:
        if not processes.is_first():
            return
        if runner.iter == 0:
            self.path.unlink(missing_ok=True)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            runner.logger.info("tensorboard is not installed: no event files (pip install tensorboard)")
        else:
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=runner.iter + 1)
        self._since = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._step_begin = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, float] | None = None
    ) -> None:
        self._in_step += time.perf_counter() - self._step_begin
        for name, value in {**(outputs or {}), "grad_norm": runner.optim_wrapper.grad_norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        iteration = runner.iter + 1
        if iteration % self.every and iteration != self.total:
            return
        now = time.perf_counter()
        elapsed = now - self._since
        groups = runner.optim_wrapper.optimizer.param_groups
        record = {
            "iteration": iteration,
            **{name: _json(total / self.count) for name, total in self.sums.items()},
            "lr": {str(g.get("name", i)): g["lr"] for i, g in enumerate(groups)},
            "seconds_per_iteration": round(elapsed / self.count, 5),
            "seconds_waiting_for_data": round((elapsed - self._in_step) / self.count, 5),
        }
        self.sums, self.count, self._since, self._in_step = {}, 0, now, 0.0
        self.write(runner, record)

    def write(self, runner: Runner, record: dict[str, Any]) -> None:
        """Append one line to the curve and tell the log file and TensorBoard."""
        if not processes.is_first():
            return
        line = json.dumps(record)
        with storage_errors(self.path), self.path.open("a") as stream:
            stream.write(line + "\n")
        runner.logger.info(line)
        if self.board is not None:
            for name, value in _flat(record):
                self.board.add_scalar(name, value, record["iteration"])

    def close(self) -> None:
        """Finish the event files; also after an interruption."""
        if self.board is not None:
            self.board.close()


class ProgressHook(Hook):
    """A bar with the remaining time and the last loss on stderr (``progress`` None: where stderr is a terminal)."""

    priority = "NORMAL"

    def __init__(self, total: int, progress: bool | None, title: str) -> None:
        self.total, self.title, self.disable = total, title, None if progress is None else not progress
        self.bar: tqdm[Any] | None = None

    def before_train(self, runner: Runner) -> None:
        self.bar = tqdm(total=self.total, initial=runner.iter, desc=self.title, unit="it", disable=self.disable)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, float] | None = None
    ) -> None:
        assert self.bar is not None
        self.bar.set_postfix_str(f"loss {(outputs or {}).get('loss', float('nan')):.4f}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Leave the terminal in order; also after an interruption."""
        if self.bar is not None:
            self.bar.close()


class EvalHook(Hook):
    """Calls ``evaluator`` every ``every`` iterations; training goes on as if it had not happened.

    What it returns is written to the curve, unless it is empty. Of several processes the first one evaluates, alone.
    """

    priority = "LOW"

    def __init__(self, evaluator: Evaluator, every: int, curve: CurveHook) -> None:
        self.evaluator, self.every, self.curve = evaluator, every, curve

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, float] | None = None
    ) -> None:
        iteration = runner.iter + 1
        if iteration % self.every:
            return
        before = rng_state()
        runner.model.eval()
        try:
            scalars = processes.on_first(lambda: self.evaluator(runner.model.method, iteration))
        finally:
            runner.model.train()
            set_rng_state(before)
        if scalars:
            self.curve.write(runner, {"iteration": iteration, **{f"eval/{k}": _json(v) for k, v in scalars.items()}})


class CheckpointHook(Hook):
    """Replaces the checkpoint every ``every`` iterations, after every other hook of that iteration.

    Also when a scheduler asked to end (:mod:`repro.preemption`), and then ends the training by Preempted.
    """

    priority = "VERY_LOW"

    def __init__(self, folder: Path, every: int, fingerprint: str, curve: CurveHook) -> None:
        self.folder, self.every, self.fingerprint, self.curve = folder, every, fingerprint, curve

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, float] | None = None
    ) -> None:
        iteration, ending = runner.iter + 1, _asked_to_end()
        if iteration % self.every == 0 or ending:
            state = self.curve.state()
            processes.on_first(lambda: save_checkpoint(runner, self.folder, self.fingerprint, iteration, state))
            runner.logger.info(f"checkpoint after iteration {iteration}")
        if ending and iteration < self.curve.total:
            runner.logger.info(f"ended by {ending}")
            preemption.end(ending)


def _asked_to_end() -> str:
    """The signal that asked this or another process of the training to end; all processes get the same answer."""
    asked = preemption.requested()
    if dist.is_distributed():
        flag = torch.tensor(int(bool(asked)))
        dist.all_reduce(flag, op="max")
        return asked or ("a signal to another process" if flag.item() else "")
    return asked


def _flat(record: dict[str, Any]) -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for name, value in record.items():
        if isinstance(value, dict):
            flat.extend((f"{name}/{key}", float(inner)) for key, inner in value.items())
        elif name != "iteration" and value is not None:
            flat.append((name, float(value)))
    return flat


def _json(value: float) -> float | None:
    """NaN and infinities (a skipped fp16 step has such a gradient norm) have no place in JSON."""
    return float(value) if abs(value) < float("inf") else None
