"""A table computed by a launcher: one job per run, whatever came of it in the cells."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Sequence

from repro.errors import UsageError
from repro.launch.job import Job, Launch, Outcome
from repro.runs.plan import Cell, Plan, Run
from repro.runs.status import BLOCKED, DONE, FAILED, CellStatus, cell_status, train_seconds

Log = Callable[[str], None]


def launch(plan: Plan, words: Sequence[str], how: Launch, log: Log) -> list[CellStatus]:
    """Compute every missing cell of ``plan`` in jobs and return the state of all.

    A job is the command ``words`` restricted to one run (``--only``), which rows of equal options share. Runs share
    data and towers: the first job that needs one makes it, the others wait. A job that fails leaves its cells
    ``failed`` with the reason and the others go on. Interrupted, it ends all jobs first; what is finished stays
    finished, and the next call continues.
    """
    folder = plan.assets.store.cache / "launch" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    runs = _by_id(plan)
    by_run = {name: [cell_status(plan, Cell(run, b)) for b in plan.benchmarks] for name, run in runs.items()}
    left = [run for run, states in by_run.items() if any(s.status not in (DONE, BLOCKED) for s in states)]
    # The longest first: a long one that starts last keeps one place busy while the others are empty.
    left.sort(key=lambda run: -_expected_seconds(runs[run], by_run[run]))
    jobs = [Job(run, (*words, "--only", run, "--json")) for run in left]

    def on_start(job: Job, place: str) -> None:
        run = runs[job.name]
        log(f"started {run.row.title} on {run.tower.title}, seed {run.seed} ({place})")

    def on_end(job: Job, outcome: Outcome) -> None:
        by_run[job.name] = states = _states(plan, runs[job.name], outcome)
        done = sum(s.status == DONE for s in states)
        log(f"ended {runs[job.name].row.title} ({job.name}): {done} of {len(states)} cells done")

    log(f"{len(jobs)} jobs; logs in {folder}")
    if how.launcher == "slurm":
        from repro.launch import slurm

        slurm.run(jobs, how, folder, on_start, on_end)
    else:
        from repro.launch import local

        local.run(jobs, local.slots(how), folder, on_start, on_end)
    return [
        dataclasses.replace(state, cell=Cell(run, state.cell.benchmark))
        for run in plan.runs
        for state in by_run[run.id]
    ]


def _by_id(plan: Plan) -> dict[str, Run]:
    """Return the runs of ``plan`` by id; of rows that share one, the first."""
    found: dict[str, Run] = {}
    for run in plan.runs:
        found.setdefault(run.id, run)
    return found


def _expected_seconds(run: Run, states: Sequence[CellStatus]) -> float:
    """Return what is left of a run; infinite where a part of it was never measured."""
    training = 0.0 if run.trained else train_seconds(run)
    parts = [training, *(s.expected_seconds for s in states if s.status not in (DONE, BLOCKED))]
    return math.inf if None in parts else sum(part for part in parts if part is not None)


def only(plan: Plan, run_id: str) -> tuple[Run, ...]:
    """Return the run of ``plan`` whose id is or begins with ``run_id``; UsageError for none and for several."""
    runs = _by_id(plan)
    found = (runs[run_id],) if run_id in runs else tuple(run for name, run in runs.items() if name.startswith(run_id))
    if len(found) != 1:
        raise UsageError(
            f"{plan.table.name} has {f'{len(found)} runs' if found else 'no run'} {run_id}",
            expected=f"one of {', '.join(runs)}",
            found=run_id,
            mend="give the command again: a name changes with what is asked and what the code computes",
        )
    return found


def _states(plan: Plan, run: Run, outcome: Outcome) -> list[CellStatus]:
    """Return the cells of a run whose job has ended: what is stored counts, and the rest has failed for a reason."""
    document = outcome.document()
    told = {c["benchmark"]: c["error"] for c in document} if isinstance(document, list) else {}
    states = []
    for benchmark in plan.benchmarks:
        state = cell_status(plan, Cell(run, benchmark))
        if state.status not in (DONE, BLOCKED):
            state.status = FAILED
            state.error = told.get(benchmark.id) or outcome.reason or "its job ended without an error message"
        states.append(state)
    return states
