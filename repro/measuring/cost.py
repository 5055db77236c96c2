"""Cost tables: what one inference of each row costs, counted on the meta device and timed on a device.

Neither data nor weights are needed: shapes decide the counts, and time does not depend on the values of weights.
Timings are kept in the run store's cache under the address of everything they depend on; nothing is timed twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.clip.spec import TowerSpec
from repro.configuration.published import find_published
from repro.cost.estimate import InferenceCost, count_inference
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.errors import ReproError
from repro.files import read_json, write_json
from repro.hashing import digest
from repro.runs.addresses.judging import timed
from repro.runs.counted import counted
from repro.runs.plan import Plan, Run
from repro.runs.status import DONE, FAILED, MISSING

TIMING = "repro.cost.timing:time_inference"
"""Where the code begins whose time is measured: a time is of the code as it is written, whatever it computes."""
PUBLISHED: dict[str, tuple[tuple[str, float], ...]] = {
    "params_million": (("params_million", 1.0),),
    "gflops": (("gflops", 1.0),),
    "seconds": (("inference_seconds", 1.0), ("latency_ms", 1e-3)),
    "images_per_second": (("fps", 1.0),),
}
"""Column of a cost table -> metrics in ``results/published.csv``, of which a paper prints one, and their units."""
RATE = "images_per_second"
"""One over the seconds: a column only beside a paper that prints it."""


def as_printed(column: str, printed: Callable[[str], float | None]) -> float | None:
    """Return what a paper prints in ``column``, in the column's unit; ``printed`` gives its number of a metric."""
    found = ((printed(metric), unit) for metric, unit in PUBLISHED[column])
    return next((value * unit for value, unit in found if value is not None), None)


@dataclasses.dataclass(frozen=True)
class TimingPlace:
    """What a timing depends on besides the method: a label of the device, torch and its threads, number of runs."""

    device: str
    label: str
    torch: str
    threads: int
    repeat: int
    warmup: int

    @classmethod
    def here(cls, device: str, repeat: int | None = None) -> TimingPlace:
        """Return this process and machine; ``repeat`` None: as many runs as suit the device."""
        import torch

        from repro.clock import hardware_label
        from repro.cost.timing import default_runs

        warmup, runs = default_runs(device)
        label = hardware_label(device)
        return cls(device, label, torch.__version__, torch.get_num_threads(), repeat or runs, warmup)


@dataclasses.dataclass(frozen=True)
class CostCell:
    """One row of a cost table."""

    run: Run
    benchmark: Benchmark

    @cached_property
    def spec(self) -> TowerSpec:
        """The row's tower with random weights; a self-trained one need not be trained for it."""
        return self.run.assets.untrained_tower(self.run.row.tower)

    @cached_property
    def classes(self) -> list[str]:
        return list(self.benchmark.prompt_names())

    def facts(self, place: TimingPlace) -> dict[str, Any]:
        """Return everything a timing depends on."""
        run = self.run
        plan = run.profile.towers[run.row.tower]
        tower = {**dataclasses.asdict(plan.spec), "weights": None, "recipe": plan.recipe}
        return {
            "method": run.entry.name,
            "options": dataclasses.asdict(run.options),
            "tower": tower,
            "protocol": dataclasses.asdict(run.profile.protocol),
            "classes": len(self.classes),
            "code": run.assets.code.source(timed(run, TIMING)).digest,
            **{k: v for k, v in dataclasses.asdict(place).items() if k != "device"},
        }

    def timing_file(self, place: TimingPlace) -> Path:
        """Return where the timing made in ``place`` is kept."""
        name = f"{self.run.entry.name}-{self.run.profile.name}-{self.run.row.tower}-{digest(self.facts(place), 10)}"
        return self.run.assets.store.cache / "timing" / f"{name}.json"


@dataclasses.dataclass
class CostStatus:
    """One row: ``done``, ``missing`` (not timed yet) or ``failed`` (``error`` says why); what is known of it."""

    cell: CostCell
    status: str
    place: TimingPlace | None = None
    """Where it is timed; None where no timing is asked for."""
    cost: InferenceCost | None = None
    timing: dict[str, Any] | None = None
    error: str | None = None

    def published(self) -> dict[str, float | None]:
        """Return the paper's value for each column of :data:`PUBLISHED`."""

        def printed(metric: str) -> float | None:
            found = find_published(self.cell.run.row.published, "", metric)
            return found.value if found else None

        return {column: as_printed(column, printed) for column in PUBLISHED}

    def measured(self) -> dict[str, float | None]:
        """Return our value for the same columns."""
        return {
            "params_million": self.cost.parameters / 1e6 if self.cost else None,
            "gflops": self.cost.gflops if self.cost else None,
            "seconds": self.timing["median"] if self.timing else None,
            RATE: 1 / self.timing["median"] if self.timing else None,
        }

    def to_json(self, table: str) -> dict[str, Any]:
        """Return one flat object; the keys are an interface and documented in docs/json.md."""
        run, cost, timing = self.cell.run, self.cost, self.timing or {}
        published, measured = self.published(), self.measured()
        return {
            "table": table,
            "row": run.row.id,
            "title": run.row.title,
            "method": run.entry.name,
            "clip": run.tower.title,
            "profile": run.profile.name,
            "classes": len(self.cell.classes),
            "status": self.status,
            "missing": [],
            "error": self.error,
            "params_million": measured["params_million"],
            "trained_params_million": cost.trained_parameters / 1e6 if cost else None,
            "gflops": measured["gflops"],
            "gflops_executed": cost.executed_gflops if cost else None,
            "gflops_by_part": dict(cost.parts) if cost else None,
            "seconds": measured["seconds"],
            RATE: measured[RATE],
            "seconds_p10": timing.get("p10"),
            "seconds_p90": timing.get("p90"),
            "seconds_by_stage": timing.get("stages"),
            "saliency_share": timing.get("saliency_share"),
            "runs": len(timing["seconds"]) if timing else None,
            "warmup": timing.get("warmup"),
            "clock": timing.get("clock"),
            "hardware": timing.get("device"),
            "hardware_kind": timing.get("machine", {}).get("kind"),
            "driver": timing.get("machine", {}).get("driver"),
            **{k: timing.get(k) for k in ("clocks", "torch", "threads", "peak_memory_mib", "memory_kind")},
            **{f"published_{k}": v for k, v in published.items()},
        }


def cost_cells(plan: Plan) -> list[CostCell]:
    """Return one cell per row, over the vocabulary of the only benchmark the table names."""
    benchmark = get_benchmark(plan.table.benchmarks[0])
    return [CostCell(run, benchmark) for run in plan.runs]


def cost_status(plan: Plan, place: TimingPlace | None) -> list[CostStatus]:
    """Return every row, counted, with the timing that is kept; ``place`` None: timings are not asked for.

    Counting takes seconds per row and is kept (:mod:`repro.runs.counted`).
    """
    states = []
    for cell in cost_cells(plan):
        state = CostStatus(cell, DONE, place)
        states.append(state)
        try:
            state.cost = _counted(cell)
        except ReproError as error:
            state.status, state.error = FAILED, str(error)
            continue
        if place is not None:
            path = cell.timing_file(place)
            state.timing = read_json(path) if path.is_file() else None
            state.status = DONE if state.timing else MISSING
    return states


def _counted(cell: CostCell) -> InferenceCost:
    run = cell.run
    asked = {"protocol": dataclasses.asdict(run.profile.protocol), "classes": cell.classes}

    def count() -> InferenceCost:
        return count_inference(run.entry, cell.spec, run.options, run.profile.protocol, cell.classes)

    return counted(run, "repro.cost.estimate:count_inference", asked, InferenceCost, count)


def measure(plan: Plan, states: list[CostStatus], log: Callable[[str], None]) -> None:
    """Time every row that is ``missing``, one after the other, and keep the result."""
    for state in states:
        place = state.place
        if state.status != MISSING or place is None:
            continue
        run = state.cell.run
        log(f"timing {run.row.title} ({run.tower.title}): {place.warmup} runs to warm up, {place.repeat} measured")
        path = state.cell.timing_file(place)
        try:
            with plan.assets.store.lock(str(path.parent.relative_to(plan.assets.store.root))):
                state.timing = _time(state.cell, place)
                write_json(path, {**state.timing, "facts": state.cell.facts(place)})
            state.status = DONE
        except ReproError as error:
            state.status, state.error = FAILED, str(error)


def _time(cell: CostCell, place: TimingPlace) -> dict[str, Any]:
    from repro.clip.tower import build_tower
    from repro.cost.timing import forward_share, time_inference

    run = cell.run
    method = run.entry.create(build_tower(cell.spec), run.options)
    timing = time_inference(
        method, run.profile.protocol, cell.classes, place.device, repeat=place.repeat, warmup=place.warmup
    )
    return {**timing.to_json(), "saliency_share": forward_share(timing.stages, "saliency")}
