"""Trials of a search that cost nothing: what a training would reach is a function of its settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from repro.api import trials
from repro.errors import RunError
from repro.hashing import digest
from repro.requests import RunRequest
from repro.runs.plan import Run
from repro.training.divergence import FILE
from repro.training.settings import TrainSettings

Reached = Callable[[str, TrainSettings], float]


class FakeTrials:
    """Stands for :func:`repro.api.held_out.held_out`; ``asked`` are its trainings: method, settings, options.

    Raises an error of a divergence where ``diverges`` holds, of another kind where ``breaks`` does.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.asked: list[tuple[str, TrainSettings, Any]] = []
        self.reached: Reached = lambda method, train: train.lr
        self.diverges: Callable[[str, TrainSettings], bool] = lambda method, train: False
        self.breaks: Callable[[str, TrainSettings], bool] = lambda method, train: False
        patch.setattr(trials, "held_out", self)
        patch.setattr(trials, "held_out_folder", self.place)

    def place(self, run: Run, scenes: int) -> Path:
        return self.folder / digest([run.facts, scenes], 12)

    def __call__(self, request: RunRequest, scenes: int, *, maps: bool, **_: Any) -> dict[str, float]:
        run = request.run()
        assert run.train is not None
        assert not maps
        self.asked.append((run.entry.name, run.train, run.options))
        if self.diverges(run.entry.name, run.train):
            self.place(run, scenes).mkdir(parents=True)
            (self.place(run, scenes) / FILE).touch()
            raise RunError("training diverged at iteration 3: loss nan", found="loss nan")
        if self.breaks(run.entry.name, run.train):
            raise RunError("the disk is slow,\nor full")
        return {"miou_gt": self.reached(run.entry.name, run.train), "pacc": 0.5}
