"""What would fail if the table were made now, each with the way out of it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from repro.datasets.benchmarks import Benchmark
from repro.errors import ReproError, command
from repro.files import nearest_there
from repro.mends import Missing
from repro.rehearsal.result import checkpoint_mib
from repro.runs.plan import Run, train_set

if TYPE_CHECKING:
    from repro.rehearsal.result import Rehearsal, Row

DATA, WEIGHTS, VOCABULARY, MEMORY, DISK, ERROR, TIME = (
    "data", "weights", "vocabulary", "memory", "disk", "error", "time",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that would fail: its kind, what it is and the way out, and the ids of the rows it concerns."""

    kind: str
    missing: Missing
    rows: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"kind": self.kind, **dataclasses.asdict(self.missing), "rows": list(self.rows)}


def findings_of(rehearsal: Rehearsal) -> tuple[Finding, ...]:
    """Return every finding once, with all rows it concerns."""
    rows: dict[tuple[str, Missing], dict[str, None]] = {}
    for kind, missing, ids in _all(rehearsal):
        rows.setdefault((kind, missing), {}).update(dict.fromkeys(ids))
    return tuple(Finding(kind, missing, tuple(ids)) for (kind, missing), ids in rows.items())


def _all(rehearsal: Rehearsal) -> Iterator[tuple[str, Missing, list[str]]]:
    plan = rehearsal.plan
    sets = [(b, plan.runs) for b in plan.benchmarks]
    if trained := tuple(run for run in plan.runs if run.train):
        sets.append((train_set(plan.profile), trained))
    for benchmark, runs in sets:
        ids = ids_of(runs)
        yield from ((DATA, missing, ids) for missing in plan.assets.missing_data(benchmark))
        yield from ((DATA, missing, ids) for missing in incomplete(rehearsal, benchmark))
        yield from ((VOCABULARY, missing, ids_of([run])) for run in runs for missing in without_words(run, benchmark))
    for run in plan.runs:
        yield from ((WEIGHTS, missing, [run.row.id]) for missing in plan.assets.missing_tower(run.row.tower))
    for row in rehearsal.rows:
        ids = ids_of(row.runs)
        yield from ((MEMORY, missing, ids) for missing in without_memory(row, rehearsal))
        yield from ((ERROR, missing, ids) for missing in raised(row, rehearsal))
        yield from ((TIME, missing, ids) for missing in out_of_time(row, rehearsal))
    yield from ((DISK, missing, ids_of(plan.runs)) for missing in without_room(rehearsal))


def ids_of(runs: Any) -> list[str]:
    """Return the rows of ``runs``, each once."""
    return list(dict.fromkeys(run.row.id for run in runs))


def incomplete(rehearsal: Rehearsal, benchmark: Benchmark) -> Iterator[Missing]:
    """Yield it where a real set is used that has fewer images than the published one."""
    plan = rehearsal.plan
    if plan.profile.synthetic or plan.assets.missing_data(benchmark):
        return
    from repro.datasets.layout import prepared_pairs

    root = benchmark.root or plan.assets.data_root
    assert root is not None
    here, whole = len(prepared_pairs(benchmark, root)), benchmark.split().num_images
    if here < whole:
        yield Missing(f"{benchmark.id}: {here:,} of {whole:,} images are there", benchmark.instructions)


def without_words(run: Run, benchmark: Benchmark) -> Iterator[Missing]:
    """Yield it where the words for the classes of a set cannot be read, or the method cannot do with them."""
    try:
        names = benchmark.prompt_names()
        run.entry.class_facts(run.options, names)
    except ReproError as error:
        mend = error.mend or command("repro", "describe", benchmark.id)
        yield Missing(f"{benchmark.id}: {error.message}", mend)
    except (OSError, LookupError, ValueError) as error:
        yield Missing(
            f"{benchmark.id}: the vocabulary cannot be used ({type(error).__name__}: {error})",
            "install the package that brings the data set again: " + command("repro", "describe", benchmark.id),
        )


def without_memory(row: Row, rehearsal: Rehearsal) -> Iterator[Missing]:
    """Yield it where the batch does not fit as the profile has it, or a part that was tried had too little."""
    device = f"this {rehearsal.kind}"
    raised_it = [e["part"] for e in row.errors if e["kind"] == "memory"]
    if row.parts == 0:
        yield Missing(
            f"{row.titles[0]}: a training step needs about {row.part_gib:.0f} GiB even in the smallest part of its "
            f"batch; {device} has {row.room_gib:.0f} GiB for it: not tried",
            "make the table on a device with more memory, or try --checkpoint-activations",
        )
    elif row.parts > 1 and not rehearsal.request.accumulate:
        yield Missing(
            f"{row.titles[0]}: a training step needs about {row.whole_gib:.0f} GiB; {device} has "
            f"{row.room_gib:.0f} GiB for it: rehearsed with the batch in {row.parts} parts",
            command("repro", "run", *_words(rehearsal), "--accumulate", row.parts),
        )
    if raised_it:
        train = row.runs[0].train
        divided = train is not None and 0 < row.parts < train.batch_size
        words = ("--accumulate", 2 * row.parts) if divided else ("--checkpoint-activations",)
        yield Missing(
            f"{row.titles[0]}: no memory left on {device} for {', '.join(raised_it)}",
            "end other programs, or try to save memory: " + command("repro", "rehearse", *_words(rehearsal), *words),
        )


def raised(row: Row, rehearsal: Rehearsal) -> Iterator[Missing]:
    """Yield what raised in the row, and how its process died."""
    for error in row.errors:
        if error["kind"] == "memory":
            continue
        mend = error["mend"] or "a defect of the project or of the method: report it with this line"
        yield Missing(f"{row.titles[0]}: {error['part']} fails: {error['error']}", mend)
    if row.ended:
        again = command("repro", "rehearse", *_words(rehearsal), "--methods", row.runs[0].row.selector)
        yield Missing(f"{row.titles[0]}: {row.ended}", f"end other programs and rehearse it alone: {again}")


def out_of_time(row: Row, rehearsal: Rehearsal) -> Iterator[Missing]:
    """Yield it where the row was stopped by its limit of time."""
    if row.stopped:
        minutes = 4 * (rehearsal.request.minutes or 1.0)
        words = ("--methods", row.runs[0].row.selector, "--minutes", f"{minutes:g}")
        yield Missing(
            f"{row.titles[0]}: stopped by --minutes ({row.stopped}); what it measured until then is kept",
            command("repro", "rehearse", *_words(rehearsal), *words),
        )


def without_room(rehearsal: Rehearsal) -> Iterator[Missing]:
    """Yield it where the disk has less room than final weights of all runs and one checkpoint at a time need."""
    plan = rehearsal.plan
    weights = sum(_weights_mib(row) * len(row.runs) for row in rehearsal.rows)
    checkpoint = max((_checkpoint_mib(row) for row in rehearsal.rows), default=0.0)
    needed, free = weights + checkpoint, shutil.disk_usage(nearest_there(plan.assets.store.root)).free / 2**20
    if needed > free:
        yield Missing(
            f"weights of all runs and a checkpoint need {needed / 1024:.1f} GiB below {plan.assets.store.root}; "
            f"{free / 1024:.1f} GiB are free",
            "free some space, or name another folder with --runs",
        )


def _weights_mib(row: Row) -> float:
    """Return the size of final weights: measured, else counted."""
    counted = 4 * row.counted.parameters / 2**20 if row.counted else 0.0
    return float((row.training or {}).get("weights_mib") or counted)


def _checkpoint_mib(row: Row) -> float:
    """Return the size of a checkpoint: measured, else counted."""
    counted = checkpoint_mib(row.counted) if row.counted else 0.0
    return float((row.training or {}).get("checkpoint_mib") or counted)


def _words(rehearsal: Rehearsal) -> tuple[object, ...]:
    request = rehearsal.request
    words: tuple[object, ...] = (request.table, "--profile", request.profile)
    return (*words, *rehearsal.plan.assets.named_folders)
