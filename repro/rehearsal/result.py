"""What a rehearsal measured, and what follows for the whole table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repro.rehearsal.request import WARMUP, RehearsalRequest
from repro.runs.plan import Plan, Run

if TYPE_CHECKING:
    from repro.cost.estimate import Estimate
    from repro.rehearsal.findings import Finding


@dataclasses.dataclass
class Row:
    """One recipe: the ``runs`` of the table that share it, and what was measured.

    ``training`` and ``images`` (by benchmark) are what :mod:`repro.rehearsal.row` reports; None and absent where they
    were not measured. ``parts``: how often the batch is divided, 0 where the training was not tried, for the smallest
    part needs ``part_gib`` and there are ``room_gib``; the undivided batch needs ``whole_gib``. ``counted`` is a step
    of it on the meta device. ``errors`` are what raised, ``stopped`` says where the time was over, ``ended`` how the
    process died.
    """

    runs: list[Run]
    date: str
    training: dict[str, Any] | None = None
    images: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    weights: str | None = None
    parts: int = 1
    part_gib: float | None = None
    room_gib: float | None = None
    whole_gib: float | None = None
    counted: Estimate | None = None
    errors: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    stopped: str = ""
    ended: str = ""

    @property
    def titles(self) -> list[str]:
        """The rows of the table, each with its tower."""
        return list(dict.fromkeys(f"{run.row.title}, {run.tower.title}" for run in self.runs))

    @property
    def failed(self) -> bool:
        """Whether something raised or could not be tried."""
        return bool(self.errors or self.ended) or self.parts == 0


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """A rehearsed table: ``rows``, on ``device`` called ``hardware``, with ``memory_gib`` for each row.

    ``load`` is the load average of the machine before. ``counts`` are the images of each benchmark that a table is made
    with. ``findings`` say what would fail.
    """

    request: RehearsalRequest
    plan: Plan
    device: str
    hardware: str
    memory_gib: float
    load: float
    rows: list[Row]
    counts: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def kind(self) -> str:
        """``GPU`` or ``CPU``."""
        return "GPU" if self.device.startswith("cuda") else "CPU"

    @property
    def exit_code(self) -> int:
        """1 where a row failed or was not finished, 3 where data, weights, memory or room are missing, else 0."""
        if any(row.failed or row.stopped for row in self.rows):
            return 1
        return 3 if self.findings else 0

    def training_hours(self, row: Row) -> float | None:
        """Return hours of all trainings of a row; None where they were not measured, 0 where it has none."""
        trained = [run for run in row.runs if run.train]
        if not trained:
            return 0.0
        if row.training is None:
            return None
        return sum(row.training["seconds_per_step"] * run.train.iterations for run in trained if run.train) / 3600

    def evaluation_hours(self, row: Row) -> float | None:
        """Return hours of all evaluations of a row; None where a benchmark was not measured."""
        return None if self.open_benchmarks(row) else self._measured_hours(row)

    def open_benchmarks(self, row: Row) -> list[str]:
        """Return the benchmarks of which no image was measured."""
        return [b.id for b in self.plan.benchmarks if b.id not in row.images]

    def _measured_hours(self, row: Row) -> float:
        per_run = sum(found["seconds_per_image"] * self.counts[name] for name, found in row.images.items())
        return per_run * len(row.runs) / 3600

    @property
    def hours(self) -> dict[str, float]:
        """Hours of all that was measured: ``training``, ``evaluation``, ``total``."""
        training = sum(self.training_hours(row) or 0.0 for row in self.rows)
        evaluation = sum(self._measured_hours(row) for row in self.rows)
        return {"training": training, "evaluation": evaluation, "total": training + evaluation}

    @property
    def unmeasured(self) -> list[str]:
        """What the hours leave out, in words."""
        left = []
        for row in self.rows:
            parts = ["training"] if self.training_hours(row) is None else []
            if open_ := self.open_benchmarks(row):
                every = len(open_) == len(self.plan.benchmarks)
                parts.append("all evaluations" if every else f"evaluations on {', '.join(open_)}")
            left += [f"{title}: {' and '.join(parts)}" for title in row.titles if parts]
        return left + [f"making {title}" for title in self.towers_to_make]

    @property
    def towers_to_make(self) -> list[str]:
        """Titles of the towers that are made before, which is not rehearsed."""
        assets, towers = self.plan.assets, self.plan.profile.towers
        used = dict.fromkeys(key for run in self.plan.runs for key in assets.towers_to_train(run.row.tower))
        open_ = (key for key in used if not assets.tower_ready(key))
        return list(dict.fromkeys(towers[key].title for key in open_))

    @property
    def text(self) -> str:
        """All of it for a reader."""
        from repro.rehearsal.text import lines

        return "\n".join(lines(self))

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data; the keys are an interface and documented in docs/json.md."""
        return {
            "table": self.plan.table.name,
            "profile": self.plan.profile.name,
            "hardware": self.hardware,
            "kind": self.kind,
            "memory_gib": self.memory_gib,
            "load": self.load,
            "steps": self.request.steps,
            "images": self.request.images,
            "warmup": WARMUP,
            "rows": [self._row(row) for row in self.rows],
            "number_of_images": dict(self.counts),
            "hours": self.hours,
            "unmeasured": self.unmeasured,
            "findings": [finding.to_json() for finding in self.findings],
        }

    def _row(self, row: Row) -> dict[str, Any]:
        run = row.runs[0]
        return {
            "rows": list(dict.fromkeys(r.row.id for r in row.runs)),
            "titles": row.titles,
            "method": run.entry.name,
            "runs": len(row.runs),
            "iterations": run.train.iterations if run.train else None,
            "weights": row.weights,
            "training": row.training,
            "images": row.images,
            "expected_memory_gib": row.whole_gib,
            "parts": row.parts if run.train else None,
            "errors": [{k: e[k] for k in ("part", "kind", "error")} for e in row.errors],
            "stopped": row.stopped or None,
            "ended": row.ended or None,
            "hours": {"training": self.training_hours(row), "evaluation": self.evaluation_hours(row)},
        }


def checkpoint_mib(counted: Estimate) -> float:
    """Return the size of a checkpoint, which holds two moments of what is trained beside the weights."""
    return 4 * (counted.parameters + 2 * counted.trained_parameters) / 2**20
