"""A search's trials: which values each has, what they cost, and what is kept of them.

A trial is known by its number; what it reached lies beside the held-out training that reached it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.api.held_out import held_out, held_out_folder
from repro.configuration.tables import load_table, table_names
from repro.console import Log, log
from repro.errors import RunError, UsageError, check_known
from repro.files import read_json, write_json
from repro.hardware import choose_device
from repro.methods import get_method, registry
from repro.methods.options import loss_weights
from repro.reports.tuning import DIVERGED, DONE
from repro.requests import RunRequest, TuneRequest
from repro.runs.plan import Run
from repro.training.search import PRESENT, Rung, factors, rungs, times

RECORD = "trial.json"
_SHARED = {f.name for f in dataclasses.fields(RunRequest)} - {"method", "options", "seed", "training"}


def methods_of(names: Sequence[str]) -> list[str]:
    """Return the methods that ``names`` stand for, each once: methods, and tables for all their rows that are trained.

    Raises UsageError for unknown names, for a method that is not trained, and where no method is left.
    """
    found: list[str] = []
    for name in names:
        if name in registry():
            if not get_method(name).trainable:
                raise UsageError(f"{name} is not trained: there is nothing to tune", found="a zero-shot method")
            found.append(name)
            continue
        if not name.endswith(".py"):
            check_known("method or table", [name], [*registry(), *table_names()])
        found += [row.method for row in load_table(name).rows if get_method(row.method).trainable]
    if not found:
        raise UsageError("no method is left to tune", expected="a method that is trained", found=", ".join(names))
    return list(dict.fromkeys(found))


@dataclasses.dataclass(frozen=True)
class Trial:
    """One set of values of a method: ``values`` of the schedule and ``weights`` of its losses."""

    search: Search
    number: int
    values: Mapping[str, float]
    weights: Mapping[str, float]

    def request(self, rung: Rung) -> RunRequest:
        """Return the run of the trial on ``rung``."""
        return self.search.run_request({**self.values, "iterations": rung.iterations}, self.weights)

    def record_path(self, rung: Rung) -> Path:
        """Return the file that says what the trial reached on ``rung``."""
        return held_out_folder(self.request(rung).run(), self.search.request.scenes) / RECORD

    def record(self, rung: Rung) -> dict[str, Any] | None:
        """Return what the trial reached on ``rung``; None where it did not end yet."""
        path = self.record_path(rung)
        return read_json(path) if path.is_file() else None

    def run(self, rung: Rung, log: Log = log) -> dict[str, Any]:
        """Train and read the trial on ``rung``, or read what is kept of it; a divergence is a result, too.

        Raises what a training raises otherwise.
        """
        from repro.clock import hardware_label
        from repro.training.divergence import FILE

        path = self.record_path(rung)
        if path.is_file():
            return read_json(path)
        started, asked = time.monotonic(), self.search.request
        device = choose_device(asked.device)
        batch = path.parent / FILE
        before = _changed(batch)  # an earlier attempt may have left one
        try:
            figures = held_out(self.request(rung), asked.scenes, maps=False, device=device, log=log)
            found: dict[str, Any] = {"status": DONE, **figures}
        except RunError as error:
            if _changed(batch) == before:
                raise
            found = {"status": DIVERGED, "error": error.message}
        found |= {"seconds": round(time.monotonic() - started, 1), "hardware": hardware_label(device)}
        found["date"] = time.strftime("%Y-%m-%d")
        write_json(path, found)
        return found


def _changed(path: Path) -> int | None:
    """Return when the file was last written, None where there is none."""
    return path.stat().st_mtime_ns if path.is_file() else None


@dataclasses.dataclass(frozen=True)
class Search:
    """The search of one method."""

    request: TuneRequest
    method: str

    def run_request(self, training: Mapping[str, Any], options: Mapping[str, Any]) -> RunRequest:
        """Return the request of a run of the method, with fields of its schedule and options replaced."""
        asked = self.request
        kept = {f.name: getattr(asked, f.name) for f in dataclasses.fields(asked) if f.name in _SHARED}
        return RunRequest(
            **kept,
            method=self.method,
            options=options,
            seed=asked.load().seeds[0],
            training={**asked.training, **training},
        )

    @cached_property
    def present(self) -> Run:
        """The method's run as it is, with the iterations of the search."""
        return self.run_request({}, {}).run()

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        """The budget."""
        assert self.present.train is not None
        return rungs(self.request.trials, self.present.train.iterations)

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """All that are drawn; the first changes nothing."""
        return tuple(self._trial(number) for number in range(self.request.trials))

    def _trial(self, number: int) -> Trial:
        own, weights = self.present.train, loss_weights(self.present.options)
        assert own is not None
        shared = own if number == PRESENT else self.present.profile.train
        drawn = factors(self.present.profile.tuning, self.request.seed, number, weights)
        values = {name: times(getattr(shared, name), drawn[name]) for name in ("lr", "weight_decay")}
        return Trial(self, number, values, {name: times(value, drawn[name]) for name, value in weights.items()})

    def facts(self) -> dict[str, Any]:
        """Return what every row of the search carries: what was searched, where and with what budget."""
        return {
            "profile": self.present.profile.name,
            "method": self.method,
            "tower": self.present.tower.title,
            "space": "; ".join([str(self.present.profile.tuning), *self.present.profile.changes]),
            "seed": self.request.seed,
            "trials": self.request.trials,
            "scenes": self.request.scenes,
            "schedule": self.rungs[-1].iterations,
            "training": ";".join(f"{k}={v}" for k, v in sorted(self.request.training.items()) if k != "iterations"),
        }


def open_searches(request: TuneRequest) -> list[Search]:
    """Return the search of each method; UsageError for unknown names and for budgets of nothing."""
    for what, value in (("trials", request.trials), ("scenes", request.scenes)):
        if value < 1:
            raise UsageError(f"a search needs {what}", expected=f"--{what} 1 or more", found=value)
    return [Search(request, method) for method in methods_of(request.methods)]
