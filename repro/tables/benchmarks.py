"""Tables of benchmarks: mean IoU of trained methods, a column for each benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.configuration.tables import Table
from repro.console import Log, duration, stdout_to_stderr
from repro.hardware import choose_device
from repro.requests import TableRequest
from repro.runs import grid
from repro.runs.plan import Plan
from repro.runs.scored import OTHER_CODE
from repro.runs.scored_rows import also_status, with_scored
from repro.runs.status import DONE, CellStatus, plan_status, remaining_seconds
from repro.tables.kind import TableKind, TableResult, heading, step_lines

if TYPE_CHECKING:
    from repro.launch.job import Launch
    from repro.reports.tables.columns import Columns
    from repro.reports.tables.evidence import Evidence
    from repro.reports.tables.html import Section
    from repro.reports.tables.tex_numbers import Number


class BenchmarkKind(TableKind[CellStatus]):
    """A state is a run on a benchmark."""

    evaluates = True
    prints_papers = True
    no_use = ("no_timing", "repeat")

    def plan(self, table: Table, request: TableRequest) -> Plan:
        plan = super().plan(table, request)
        return with_scored(plan, request.also) if request.also and not request.only else plan

    def states(self, plan: Plan, request: TableRequest) -> list[CellStatus]:
        return plan_status(plan, request.device) + also_status(plan)

    def compute(
        self, plan: Plan, states: list[CellStatus], request: TableRequest, device: str, log: Log
    ) -> list[CellStatus]:
        from repro.runs.execute import execute, joined

        with joined(plan, device, log) as own:
            return execute(plan, device=own, log=log, placement=request.placement) + also_status(plan)

    def launch(self, plan: Plan, words: tuple[str, ...], how: Launch, log: Log) -> list[CellStatus]:
        return grid.launch(plan, words, how, log) + also_status(plan)

    def label(self, state: CellStatus) -> str:
        return f"{state.cell.run.row.title} on {state.cell.benchmark.id}"

    def warnings(self, states: Sequence[CellStatus]) -> Iterator[str]:
        """Yield what is stale and why, once for each reason, and how to use it all the same."""
        by_reason: dict[str, list[CellStatus]] = {}
        for cell in states:
            if cell.stale:
                by_reason.setdefault(cell.stale, []).append(cell)
        for reason, own in by_reason.items():
            runs = dict.fromkeys(f"{c.cell.run.row.title}, seed {c.cell.run.seed}" for c in own)
            yield f"stale: {'; '.join(runs)} ({len(own)} {'cell' if len(own) == 1 else 'cells'}): {reason}"
        if by_reason:
            yield "What is stale is computed again into folders of its own; to use it as it is: repro runs adopt RUN"

    def preview(self, result: TableResult[CellStatus]) -> Iterator[str]:
        from repro.runs.recipe import recipe_lines

        plan, states, device = result.plan, result.states, result.request.device
        yield from heading(plan)
        yield from step_lines(plan, device)
        yield from (f"  {line}".rstrip() for line in recipe_lines(plan, device))
        width = max(len(b.id) for b in plan.benchmarks) + 3
        titles = [f"{run.row.title}, {run.tower.title}, seed {run.seed}" for run in plan.runs]
        margin = max(map(len, titles))
        yield f"\nCells\n  {'':<{margin}}" + "".join(f"{b.id:>{width}}" for b in plan.benchmarks)
        for run, title in zip(plan.runs, titles, strict=True):  # rows of equal options share a run
            own = [c for c in states if c.cell.run is run]
            yield f"  {title:<{margin}}" + "".join(f"{c.status:>{width}}" for c in own)
        for cell in plan.also:
            yield f"  {cell.run.row.title}, {OTHER_CODE}: scored on {cell.benchmark.id}"
        yield from self.warnings(states)
        if needs := dict.fromkeys((m.what, m.mend) for c in states for m in c.needs):
            yield "\nMissing"
            yield from (f"  {what}\n      {mend}" for what, mend in needs)
        remaining, basis = remaining_seconds(plan, states, device), plan.profile.cost.get("hardware")
        measured = f" (measured on {basis})" if basis else ""
        yield f"\n{self.tally(states)}; expected time {duration(remaining)}{measured}"
        yield from _calibrated(plan)
        yield from _rehearsed(plan, device)

    def calibrate(self, plan: Plan, device: str, log: Log) -> None:
        """Time some images of each benchmark, for the estimate of a plan."""
        from repro.runs.calibration import calibrate

        with stdout_to_stderr():
            calibrate(plan, choose_device(device), log)

    def progress(self, plan: Plan) -> dict[str, Any]:
        states = plan_status(plan)
        rows: dict[str, list[str]] = {}
        for state in states:
            run = state.cell.run
            own = rows.setdefault(f"{run.row.title}, {run.tower.title}, seed {run.seed}", [])
            own += [state.cell.benchmark.id] * (state.status == DONE)
        done = sum(s.status == DONE for s in states)
        finished = {row: ", ".join(own) or "nothing" for row, own in rows.items()}
        return {"state": f"{done} of {len(states)} cells", **finished}

    # -- how it is shown ------------------------------------------------------------------------------------------
    def write(self, result: TableResult[CellStatus], folder: Path) -> list[Path]:
        from repro.reports.tables.writers import write_report

        asked = result.request
        return write_report(
            result.plan, result.states, folder, asked.formats, _columns(asked), published=asked.published_in
        )

    def text(self, result: TableResult[CellStatus]) -> str:
        from repro.reports.tables.writers import table_text

        asked = result.request
        return table_text(result.plan, result.states, "md", _columns(asked), asked.published_in("md"))

    def check(self, result: TableResult[CellStatus]) -> None:
        for name in (result.request.baseline, result.request.row):
            if name:
                _evidence(result).baseline(name)

    def numbers(self, result: TableResult[CellStatus]) -> Iterator[Number]:
        from repro.reports.tables.tex_numbers import table_numbers

        return table_numbers(_evidence(result), result.request.baseline)

    def section(self, result: TableResult[CellStatus]) -> Section:
        from repro.reports.tables.html import table_section

        return table_section(_evidence(result), result.request.baseline, result.request.published_in("html"))

    def figures(self, result: TableResult[CellStatus], folder: Path, log: Log) -> list[Path]:
        from repro.reports.figures.plots import write_plots

        evidence = _evidence(result)
        if not evidence.finished():
            log(f"no plots of {result.plan.table.name}: none of its cells is done")
            return []
        return write_plots(evidence, folder, baseline=result.request.baseline, row=result.request.row)


def _evidence(result: TableResult[CellStatus]) -> Evidence:
    """Resample once for numbers, page and plots."""
    from repro.reports.tables.evidence import Evidence

    if "evidence" not in result.kept:
        result.kept["evidence"] = Evidence(result.plan, result.states)
    found: Evidence = result.kept["evidence"]
    return found


def _columns(request: TableRequest) -> Columns:
    from repro.reports.tables.columns import Columns

    return Columns(request.intervals, tuple(request.measures))


def _calibrated(plan: Plan) -> Iterator[str]:
    """Yield what the evaluations alone take, row by row, where they were calibrated on a machine."""
    from repro.runs.calibration import calibrated, calibrated_seconds

    for run in plan.runs:
        found = [calibrated(run, b.id) for b in plan.benchmarks]
        if all(found):
            total = sum(calibrated_seconds(run, b) or 0.0 for b in plan.benchmarks)
            machines = ", ".join(dict.fromkeys(f"{f['hardware']}, {f['date'][:10]}" for f in found if f))
            title = f"{run.row.title}, {run.tower.title}, seed {run.seed}"
            yield f"Evaluating {title} on {len(found)} benchmarks: {duration(total)} (calibrated on {machines})"


def _rehearsed(plan: Plan, device: str) -> Iterator[str]:
    """Yield which times above are those of a rehearsal on this machine."""
    from repro.runs.rehearsed import rehearsed

    by_machine: dict[str, dict[str, None]] = {}
    for run in plan.runs:
        if found := rehearsed(run, device):
            only = "" if found["training"] or not run.train else " (evaluations only)"
            machine = f"{found['hardware']}, {found['date'][:10]}"
            by_machine.setdefault(machine, {})[f"{run.row.title}, {run.tower.title}{only}"] = None
    for machine, rows in by_machine.items():
        yield f"Rehearsed on {machine} (docs/rehearsal.md): {'; '.join(rows)}"


KIND = BenchmarkKind()
