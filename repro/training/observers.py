"""What happens around the iterations of a method's training: curve and log, progress bar, evaluation."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.optim import _ParamScheduler
from tqdm import tqdm

from repro.files import storage_errors, write_text
from repro.launch import processes
from repro.methods.interface import Method
from repro.training.boards import Boards
from repro.training.checkpoint import rng_state, set_rng_state
from repro.training.loop import Figures, Observer
from repro.training.optim import AutocastOptimWrapper
from repro.training.step import TrainModel

Evaluator = Callable[[Method, int], Mapping[str, float]]
"""Called as evaluator(method, iteration); returns scalars to log."""


class Curve(Observer):
    """The loss curve: one JSON line every ``every`` iterations in losses.jsonl, the log file and ``boards``.

    A line holds the means since the line before (losses, grad_norm), each group's learning rate at that iteration,
    and the seconds per iteration. A resumed training drops the lines after its checkpoint, so that the file
    reads as if it had never stopped. Of several processes the first one writes, and what it writes is about the whole
    batch.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        total: int,
        optim: AutocastOptimWrapper,
        log: logging.Logger,
        boards: Sequence[str] | None = None,
    ) -> None:
        self.path, self.folder, self.every, self.total = folder / "losses.jsonl", folder, every, total
        self.optim, self.log, self.names = optim, log, boards
        self.sums: dict[str, float] = {}
        self.count = 0
        self.boards: Boards | None = None
        self._since = time.perf_counter()
        self._in_step = 0.0
        self._step_begin = 0.0

    def state(self) -> dict[str, Any]:
        """Return what belongs in a checkpoint so that a mean over an interrupted interval comes out the same."""
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

    def start(self, done: int) -> None:
        if not processes.is_first():
            return
        if done == 0:
            self.path.unlink(missing_ok=True)
        self.boards = Boards(self.names, self.folder, done, self.log)
        self._since = time.perf_counter()

    def before(self, number: int) -> None:
        self._step_begin = time.perf_counter()

    def after(self, done: int, figures: Figures) -> None:
        self._in_step += time.perf_counter() - self._step_begin
        for name, value in {**figures, "grad_norm": self.optim.grad_norm}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        if done % self.every and done != self.total:
            return
        now = time.perf_counter()
        elapsed = now - self._since
        groups = self.optim.optimizer.param_groups
        record = {
            "iteration": done,
            **{name: _json(total / self.count) for name, total in self.sums.items()},
            "lr": {str(g.get("name", i)): g["lr"] for i, g in enumerate(groups)},
            "seconds_per_iteration": round(elapsed / self.count, 5),
            "seconds_waiting_for_data": round((elapsed - self._in_step) / self.count, 5),
        }
        self.sums, self.count, self._since, self._in_step = {}, 0, now, 0.0
        self.write(record)

    def write(self, record: dict[str, Any]) -> None:
        """Append one line to the curve and tell the log file and the boards."""
        if not processes.is_first():
            return
        line = json.dumps(record)
        with storage_errors(self.path), self.path.open("a") as stream:
            stream.write(line + "\n")
        self.log.info(line)
        if self.boards is not None:
            self.boards.write(_flat(record), record["iteration"])

    def close(self) -> None:
        """Finish the boards and the log; also after an interruption."""
        if self.boards is not None:
            self.boards.close()
        for handler in self.log.handlers:
            handler.close()


class Bar(Observer):
    """A bar with the remaining time and the last loss on stderr (``progress`` None: where stderr is a terminal)."""

    def __init__(self, total: int, progress: bool | None, title: str) -> None:
        self.total, self.title, self.disable = total, title, None if progress is None else not progress
        self.bar: tqdm[Any] | None = None

    def start(self, done: int) -> None:
        self.bar = tqdm(total=self.total, initial=done, desc=self.title, unit="it", disable=self.disable)

    def after(self, done: int, figures: Figures) -> None:
        assert self.bar is not None
        self.bar.set_postfix_str(f"loss {figures.get('loss', float('nan')):.4f}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Leave the terminal in order; also after an interruption."""
        if self.bar is not None:
            self.bar.close()


class Schedule(Observer):
    """Changes the learning rates after every step; behind the curve, which notes those of the step itself."""

    def __init__(self, schedulers: Sequence[_ParamScheduler]) -> None:
        self.schedulers = schedulers

    def after(self, done: int, figures: Figures) -> None:
        for scheduler in self.schedulers:
            scheduler.step()


class EvaluateBetween(Observer):
    """Calls ``evaluator`` every ``every`` iterations; training continues as if it had not happened.

    What it returns is written to the curve, unless it is empty. Of several processes the first one evaluates, alone.
    """

    def __init__(self, model: TrainModel, evaluator: Evaluator, every: int, curve: Curve) -> None:
        self.model, self.evaluator, self.every, self.curve = model, evaluator, every, curve

    def after(self, done: int, figures: Figures) -> None:
        if done % self.every:
            return
        before = rng_state()
        self.model.eval()
        try:
            scalars = processes.on_first(lambda: self.evaluator(self.model.method, done))
        finally:
            self.model.train()
            set_rng_state(before)
        if scalars:
            self.curve.write({"iteration": done, **{f"eval/{k}": _json(v) for k, v in scalars.items()}})


def _flat(record: dict[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat.update({f"{name}/{key}": float(inner) for key, inner in value.items()})
        elif name != "iteration" and value is not None:
            flat[name] = float(value)
    return flat


def _json(value: float) -> float | None:
    """Replace NaN and infinities (a skipped fp16 step has such a gradient norm), which have no place in JSON."""
    return float(value) if abs(value) < float("inf") else None
