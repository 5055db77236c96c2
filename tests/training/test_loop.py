"""The loop of every training, on a task that is a sum of drawn numbers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from repro import preemption
from repro.errors import DataError, Preempted, ReproError, RunError, WeightsError
from repro.training.loop import Checkpoints, Figures, Observer, Task, run


class Sum(Task[float]):
    """Adds a number of the stream and a drawn one each step; ``act`` does something in one of them."""

    def __init__(self, total: int = 6, at: int = -1, act: Any = None) -> None:
        self.total, self.value, self.at, self.act = total, torch.zeros(()), at, act
        self.seen: list[int] = []

    def batches(self, first: int) -> Iterator[float | ReproError]:
        return iter([float(i) for i in range(first, self.total)])

    def step(self, number: int, batch: float) -> Figures:
        assert batch == number
        if number == self.at:
            self.act()
        self.seen.append(number)
        self.value = self.value + batch + torch.rand(())
        return {"loss": float(self.value)}

    def state(self) -> dict[str, Any]:
        return {"value": self.value}

    def restore(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def places(folder: Path, identity: str = "sum", every: int = 2) -> Checkpoints:
    return Checkpoints(folder / "checkpoint.pth", identity, every)


def interrupt() -> None:
    raise KeyboardInterrupt


def whole(folder: Path) -> float:
    task = Sum()
    run(task, places(folder / "whole"), seed=3)
    return float(task.value)


@pytest.mark.parametrize(("at", "resumed_at"), [(1, 0), (2, 2), (3, 2), (5, 4)])
def test_an_ended_task_goes_on_at_its_checkpoint_with_the_draws_it_would_have_had(
    tmp_path: Path, at: int, resumed_at: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Sum(at=at, act=interrupt), places(tmp_path), seed=3)
    torch.rand(5)  # of the caller
    rest = Sum()
    run(rest, places(tmp_path), seed=3)
    assert rest.seen == list(range(resumed_at, 6))
    assert float(rest.value) == whole(tmp_path)


def test_seconds_of_earlier_processes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Sum(at=2, act=interrupt), places(tmp_path))
    file = tmp_path / "checkpoint.pth"
    torch.save({**torch.load(file, weights_only=True), "seconds": 1000.0}, file)
    assert 1000 < run(Sum(), places(tmp_path)) < 1100


@pytest.mark.parametrize("number", preemption.SIGNALS)
def test_a_signal_ends_behind_the_step_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in preemption.SIGNALS}
    preemption.install()
    try:
        with pytest.raises(Preempted, match=number.name), preemption.deferred():
            run(Sum(at=2, act=lambda: os.kill(os.getpid(), number)), places(tmp_path, every=100), seed=3)
    finally:
        preemption.install()
        for n, handler in before.items():
            signal.signal(n, handler)
    rest = Sum()
    run(rest, places(tmp_path), seed=3)
    assert rest.seen == [3, 4, 5]
    assert float(rest.value) == whole(tmp_path)


class Noting(Observer):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start(self, done: int) -> None:
        self.calls.append(("start", done))

    def before(self, number: int) -> None:
        self.calls.append(("before", number))

    def after(self, done: int, figures: Figures) -> None:
        self.calls.append(("after", done, sorted(figures)))

    def close(self) -> None:
        self.calls.append("close")


def test_observers_are_called_around_each_step_and_closed_also_after_an_error(tmp_path: Path) -> None:
    seen = Noting()
    run(Sum(2), places(tmp_path), [seen])
    steps = [[("before", i), ("after", i + 1, ["loss"])] for i in range(2)]
    assert seen.calls == [("start", 0), *steps[0], *steps[1], "close"]
    failed = Noting()
    with pytest.raises(KeyboardInterrupt):
        run(Sum(at=0, act=interrupt), places(tmp_path / "other"), [failed])
    assert failed.calls == [("start", 0), ("before", 0), "close"]


def test_an_error_in_the_stream_and_a_checkpoint_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    class Damaged(Sum):
        def batches(self, first: int) -> Iterator[float | ReproError]:
            return iter([0.0, DataError("unreadable")])

    with pytest.raises(DataError, match="unreadable"):
        run(Damaged(), places(tmp_path, every=1))
    with pytest.raises(RunError, match="another training"):
        run(Sum(), places(tmp_path, "product"))
    (tmp_path / "checkpoint.pth").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"checkpoint\.pth"):
        run(Sum(), places(tmp_path))
