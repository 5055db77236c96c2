"""The state of every cell of a plan: done, missing, stale, blocked or failed, and what it still costs."""

from __future__ import annotations

import dataclasses
from typing import Any

from repro.datasets.benchmarks import Benchmark
from repro.mends import Missing
from repro.runs.addresses.places import adopted_of
from repro.runs.calibration import calibrated_seconds
from repro.runs.data import READY
from repro.runs.gates.plausible import implausible
from repro.runs.plan import Cell, Plan, Run, train_set
from repro.runs.rehearsed import rehearsed_evaluation_seconds, rehearsed_training_seconds
from repro.runs.store import RunStore

DONE, MISSING, STALE, BLOCKED, FAILED = "done", "missing", "stale", "blocked", "failed"


@dataclasses.dataclass
class CellStatus:
    """One cell: ``done`` (``metrics`` are there), ``missing`` (can be computed), ``stale`` (likewise: what is there was
    made by code that computes something else), ``blocked`` (waits for ``needs``) or ``failed`` (``error`` says why).

    ``flag`` says why the number of a done cell is left out of every mean (:mod:`repro.runs.gates.plausible`),
    ``stale`` why what was made is not used, ``adopted`` since when and why it is although the code differs."""

    cell: Cell
    status: str
    needs: list[Missing]
    metrics: dict[str, Any] | None = None
    error: str | None = None
    expected_seconds: float | None = None
    flag: str | None = None
    stale: str | None = None
    adopted: str | None = None

    @property
    def countable(self) -> bool:
        """Whether the cell has a number that may enter means, intervals and comparisons."""
        return self.status == DONE and self.metrics is not None and self.flag is None

    def to_json(self, table: str) -> dict[str, Any]:
        """Return one flat object; the keys are an interface and documented in docs/json.md."""
        run = self.cell.run
        return {
            "table": table,
            "row": run.row.id,
            "title": run.row.title,
            "method": run.entry.name,
            "tower": run.tower.title,
            "benchmark": self.cell.benchmark.id,
            "profile": run.profile.name,
            "seed": run.seed,
            "run": run.id,
            "status": self.status,
            "missing": [dataclasses.asdict(m) for m in self.needs],
            "error": self.error,
            "flag": self.flag,
            "stale": self.stale,
            "adopted": self.adopted,
            "expected_seconds": self.expected_seconds,
            "protocol": self.cell.protocol_digest,
            "metrics": {k: self.metrics[k] for k in HEADLINE if k in self.metrics} if self.metrics else None,
        }


HEADLINE = ("miou_gt", "miou_union", "fwiou", "macc", "pacc", "num_images")


def plan_status(plan: Plan, device: str = "auto") -> list[CellStatus]:
    """Return the state of every cell now, without computing anything; times are expected on ``device``."""
    missing = {tower: plan.assets.missing_tower(tower) for tower in dict.fromkeys(r.row.tower for r in plan.runs)}
    return [cell_status(plan, cell, device, missing[cell.run.row.tower]) for cell in plan.cells]


def cell_status(plan: Plan, cell: Cell, device: str = "auto", missing_tower: list[Missing] | None = None) -> CellStatus:
    """Return the state of one cell now; its time is expected on ``device``. ``missing_tower``: where it is known."""
    run = cell.run
    metrics = RunStore.result(cell.place.path)
    if metrics is not None and not missing_measures(plan, cell):
        return CellStatus(cell, DONE, [], metrics, flag=flag_of(plan, metrics), adopted=adopted(cell))
    missing_tower = plan.assets.missing_tower(run.row.tower) if missing_tower is None else missing_tower
    needs = missing_tower + plan.assets.missing_data(cell.benchmark)
    if not run.trained:
        needs += plan.assets.missing_data(train_set(plan.profile))
    seconds = evaluation_seconds(run, cell.benchmark, device)
    stale = cell.stale if metrics is None else None
    state = BLOCKED if needs else STALE if stale else MISSING
    return CellStatus(cell, state, needs, expected_seconds=seconds, stale=stale)


def adopted(cell: Cell) -> str | None:
    """Say why and since when the number of a cell is used although the code that made it differs; None if it does not.

    The cell itself, its run, or the data and tower it rests on may be what was adopted.
    """
    assets, tower = cell.run.assets, cell.run.row.tower
    return adopted_of([cell.place, cell.run.place, assets.data_place, assets.tower_place(tower)])


def flag_of(plan: Plan, metrics: dict[str, Any]) -> str | None:
    """Say why a finished number is left out of means; None in a profile that keeps all."""
    return implausible(metrics) if plan.profile.flag_implausible else None


def missing_measures(plan: Plan, cell: Cell) -> list[str]:
    """Return the measures the plan asks for that a finished evaluation lacks."""
    if not plan.measures:
        return []
    from repro.metrics.measured import read_measure  # OpenCV: only for those who measure

    return [name for name in plan.measures if read_measure(cell.place.path, name, cell.benchmark) is None]


@dataclasses.dataclass(frozen=True)
class Step:
    """A shared piece of work before cells can be computed, with its expected time."""

    what: str
    done: bool
    seconds: float | None


def plan_steps(plan: Plan, device: str = "auto") -> list[Step]:
    """Return data, towers and trainings in the order they are made; times of trainings are expected on ``device``."""
    assets, cost = plan.assets, plan.profile.cost
    steps = []
    if plan.profile.synthetic:
        root = assets.data_root
        steps.append(
            Step("draw and prepare the miniature", bool(root and (root / READY).is_file()), cost.get("data_s"))
        )
    used = dict.fromkeys(key for run in plan.runs for key in assets.towers_to_train(run.row.tower))
    seen = set()  # towers that differ in how they are read out are trained once
    for key in used:
        making = assets.making(key)
        if making is not None and (folder := assets.tower_folder(key)) not in seen:
            seen.add(folder)
            title = plan.profile.towers[key].title
            steps.append(Step(f"train {title}", assets.tower_ready(key), cost.get(making.cost)))
    for run in plan.runs:
        if run.train:
            title = f"train {run.row.title} ({run.tower.title}), seed {run.seed}"
            steps += [Step(title, run.trained, train_seconds(run, device))]
    return steps


def train_seconds(run: Run, device: str = "auto") -> float | None:
    """Return expected seconds of a training: rehearsed here, else by the profile's measured cost per iteration; None
    if not measured.
    """
    if (seconds := rehearsed_training_seconds(run, device)) is not None:
        return seconds
    per_iteration = run.profile.cost.get("train_s_per_iteration", {}).get(run.entry.name)
    return per_iteration * run.train.iterations if per_iteration and run.train else None


def evaluation_seconds(run: Run, benchmark: Benchmark, device: str = "auto") -> float | None:
    """Return expected seconds of an evaluation: calibrated here, rehearsed here, else the profile's; None where nobody
    measured.
    """
    seconds = calibrated_seconds(run, benchmark)
    if seconds is None:
        seconds = rehearsed_evaluation_seconds(run, benchmark, device)
    if seconds is None:
        seconds = run.profile.cost.get("eval_s", {}).get(run.entry.name, {}).get(benchmark.id)
    return seconds


def remaining_seconds(plan: Plan, cells: list[CellStatus], device: str = "auto") -> float | None:
    """Return expected seconds of all that is not done; None where a part of it was never measured."""
    open_steps = [s.seconds for s in plan_steps(plan, device) if not s.done]
    open_cells = [c.expected_seconds for c in cells if c.status != DONE]
    if all(c.status == DONE for c in cells):
        return 0.0
    costs = open_steps + open_cells
    return None if any(c is None for c in costs) else float(sum(c for c in costs if c is not None))
