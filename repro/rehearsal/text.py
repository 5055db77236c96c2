"""A rehearsal as lines for a reader: what was measured, the hours that follow, what would fail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from repro.hardware import cpu_count
from repro.rehearsal.request import WARMUP
from repro.rehearsal.samples import ORIGINS, TRAIN_SIZE
from repro.runs.calibration import typical_size
from repro.runs.plan import train_set

if TYPE_CHECKING:
    from repro.rehearsal.result import Rehearsal, Row

WIDTH = 110


def lines(it: Rehearsal) -> Iterator[str]:
    """Yield all lines."""
    plan, request = it.plan, it.request
    yield f"Rehearsal of {plan.table.title} ({plan.table.name}), profile {plan.profile.name}: {plan.profile.title}"
    yield f"Measured on {it.kind} {it.hardware}; at most {it.memory_gib:.1f} GiB of memory per row"
    if it.kind == "CPU" and it.load > cpu_count() / 2:
        yield f"The machine was busy before (load {it.load:.1f} on {cpu_count()} cores): a quiet one is faster"
    steps, images = _several(request.steps, "step"), _several(request.images, "image")
    yield f"{steps} after {WARMUP} to warm up, {images} per benchmark"
    yield from _trainings(it)
    yield from _evaluations(it)
    yield from _hours(it)
    yield from _failures(it)


def _trainings(it: Rehearsal) -> Iterator[str]:
    rows = [row for row in it.rows if row.runs[0].train]
    if not rows:
        return
    yield "\nTraining"
    head = ("row", "weights", "batch", "s per step", "waiting", "memory GiB", "checkpoint", "steps x runs", "hours")
    yield from _columns(head, [cells for row in rows for cells in _training(row, it)])
    memory = "allocated by torch" if it.kind == "GPU" else "resident, above what the process had at its start"
    yield f"  waiting: seconds of a step without a batch; memory: peak {memory}"
    seen = {(row.training["data"], row.training["classes"]) for row in rows if row.training}
    for origin, classes in sorted(seen):
        size = f", {TRAIN_SIZE[0]} x {TRAIN_SIZE[1]} pixels" if origin == "drawn" else ""
        yield f"  {train_set(it.plan.profile).id}: {ORIGINS[origin]}{size}, {classes} classes"


def _training(row: Row, it: Rehearsal) -> Iterator[Sequence[str]]:
    run, found, hours = row.runs[0], row.training, it.training_hours(row)
    assert run.train is not None
    runs = f"{run.train.iterations:,} x {len(row.runs)}"
    for number, title in enumerate(row.titles):
        if number:
            yield title, "as above", *[""] * 6, ""
        elif found is None:
            why = "not tried" if row.parts == 0 else "not measured"
            yield title, row.weights or "", str(run.train.batch_size), why, "", "", "", runs, "unknown"
        else:
            batch = f"{found['batch']}" + (f" in {found['parts']} parts" if found["parts"] > 1 else "")
            memory = "unknown" if found["peak_mib"] is None else f"{found['peak_mib'] / 1024:.1f}"
            yield (
                title, found["weights"], batch, _short(found["seconds_per_step"]), _short(found["waiting_s"]), memory,
                _checkpoint(found), runs, _hours_text(hours),
            )  # fmt: skip


def _checkpoint(found: dict[str, Any]) -> str:
    if found["checkpoint_mib"] is None:
        return "none"
    size = f"{found['checkpoint_mib'] / 1024:.2f} GiB"
    return f"{size}, resumed" if found["resumed"] else f"{size}, not resumed"


def _evaluations(it: Rehearsal) -> Iterator[str]:
    benchmarks = it.plan.benchmarks
    yield "\nSeconds per image"
    rows = []
    for row in it.rows:
        found = [row.images.get(b.id) for b in benchmarks]
        peaks = [f["peak_mib"] for f in found if f and f["peak_mib"] is not None]
        memory = f"{max(peaks) / 1024:.1f}" if peaks else "unknown"
        hours = it.evaluation_hours(row)
        cells = [_short(f["seconds_per_image"]) if f else "none" for f in found]
        last = _hours_text(hours)
        for number, title in enumerate(row.titles):
            own = [row.weights or "", *cells, memory, last] if not number else ["as above", *[""] * (len(cells) + 2)]
            rows.append([title, *own])
    yield from _columns(("row", "weights", *(b.id for b in benchmarks), "memory GiB", "hours"), rows)
    for benchmark in benchmarks:
        origin = next((row.images[benchmark.id]["data"] for row in it.rows if benchmark.id in row.images), None)
        if origin is None:
            continue
        height, width = typical_size(benchmark)
        size = f", {height} x {width} pixels" if origin == "drawn" else ""
        count = f"{it.counts[benchmark.id]:,} in a table"
        yield f"  {benchmark.id}: {ORIGINS[origin]}{size}, {len(benchmark.prompt_names())} classes; {count}"
    yield "  text features are drawn: an evaluation computes them once and keeps them"


def _hours(it: Rehearsal) -> Iterator[str]:
    hours, left = it.hours, it.unmeasured
    at_least = "at least " if left else ""
    days = f", {hours['total'] / 24:,.0f} days," if hours["total"] >= 48 else ""
    yield (
        f"\nThe whole table: {at_least}{_hours_text(hours['total'])} hours{days} on one such device "
        f"({_hours_text(hours['training'])} of training, {_hours_text(hours['evaluation'])} of evaluation)"
    )
    if left:
        yield from _wrapped(f"not measured: {'; '.join(left)}", "  ")


def _failures(it: Rehearsal) -> Iterator[str]:
    if not it.findings:
        yield "\nNothing was found that would fail"
        return
    yield "\nWould fail"
    every = {run.row.id for run in it.plan.runs}
    for finding in it.findings:
        rows = "all rows" if set(finding.rows) == every else ", ".join(finding.rows)
        yield from _wrapped(f"{finding.kind}: {finding.missing.what} [{rows}]", "  ")
        first, *others = finding.missing.mend.splitlines()
        yield f"    fix: {first}"
        yield from (f"         {line}" for line in others)


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align the columns, the first two to the left."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield f"  {'  '.join(cells)}".rstrip()


def _wrapped(text: str, margin: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=margin, subsequent_indent=margin + "  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _short(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}" if seconds < 10 else f"{seconds:,.1f}"


def _hours_text(hours: float | None) -> str:
    if hours is None:
        return "unknown"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.3f}" if hours else "0"


def _several(count: int, unit: str) -> str:
    return f"{count} {unit}" + ("s" if count > 1 else "")
