"""The evidence behind a table: finished evaluations with intervals, paired differences and curves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from repro.datasets.benchmarks import Benchmark
from repro.errors import UsageError, command, known_as
from repro.files import read_json
from repro.metrics.counts import Counts
from repro.metrics.seen import class_groups
from repro.reports.tables.columns import evaluation_folder
from repro.runs.plan import Plan, Run
from repro.runs.status import CellStatus
from repro.stats import RESAMPLES
from repro.stats.interval import Estimate, SeedSpread, holm
from repro.stats.metrics import get_metric
from repro.stats.paired import (
    Difference,
    Sampled,
    class_differences,
    difference,
    estimate,
    pair_seeds,
    sample_metrics,
)
from repro.stats.resample import Float64, draw_images, observed_totals

LOSSES = "losses.jsonl"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of a table on one benchmark: by seed its finished evaluations, their counts and resamples."""

    benchmark: Benchmark
    cells: Mapping[int, CellStatus]
    counts: Mapping[int, Counts]
    sampled: Mapping[int, Sampled]

    @cached_property
    def result(self) -> tuple[Estimate, SeedSpread]:
        """Mean over seeds of the table's metric (fraction) with its interval, and the spread over seeds."""
        return estimate(list(self.sampled.values()))

    @cached_property
    def class_iou(self) -> Float64:
        """IoU (C,) of every class, mean over seeds; NaN for a class without ground truth."""
        totals = [observed_totals(c) for c in self.counts.values()]
        iou = np.mean([t.iou()[:, 0] for t in totals], axis=0)
        return np.where(totals[0].ground_truth[:, 0] > 0, iou, np.nan)

    @cached_property
    def class_images(self) -> list[int]:
        """The number of images whose ground truth holds each class."""
        counts = next(iter(self.counts.values()))
        return np.bincount(counts.classes[counts.ground_truth > 0], minlength=counts.num_classes).tolist()


@dataclasses.dataclass(frozen=True)
class RowRuns:
    """A row of the table and its runs, one per seed."""

    id: str
    title: str
    tower: str
    runs: tuple[Run, ...]

    @property
    def label(self) -> str:
        """Method and tower, as legends name the row."""
        return f"{self.title}, {self.tower}"


class Evidence:
    """What a plan's finished cells show. Intervals and tests are computed when asked for, each once."""

    def __init__(self, plan: Plan, cells: Sequence[CellStatus], resamples: int = RESAMPLES) -> None:
        self.plan, self.cells, self.resamples = plan, list(cells), resamples
        rows: dict[str, dict[int, Run]] = {}
        for run in plan.shown_runs:
            rows.setdefault(run.row.id, {}).setdefault(run.seed, run)  # other code may have a run per benchmark
        self.rows = [RowRuns(i, r[min(r)].row.title, r[min(r)].tower.title, tuple(r.values())) for i, r in rows.items()]
        self._entries: dict[tuple[str, str], Entry | None] = {}
        self._pairs: dict[tuple[str, str, str], Difference | None] = {}

    @cached_property
    def metric(self) -> Any:
        """The table's metric."""
        return get_metric(self.plan.table.metric)

    def times(self, images: int) -> Float64:
        """Return the draws every evaluation of so many images is resampled by."""
        return draw_images(images, self.resamples)

    def entry(self, row: str, benchmark: str) -> Entry | None:
        """Return what is finished of ``row`` on ``benchmark``; None where nothing is (or its counts are gone)."""
        if (row, benchmark) not in self._entries:
            self._entries[row, benchmark] = self._read(row, benchmark)
        return self._entries[row, benchmark]

    def _read(self, row: str, benchmark: str) -> Entry | None:
        own = [c for c in self.cells if c.cell.run.row.id == row and c.cell.benchmark.id == benchmark]
        found = {c.cell.run.seed: (c, evaluation_folder(c)) for c in own if c.countable}
        counts = {s: Counts.load(folder / "counts.npz") for s, (_, folder) in found.items() if folder is not None}
        if not counts:
            return None
        first = next(iter(counts.values()))
        counts = {s: c for s, c in counts.items() if c.keys == first.keys}  # other images are another evaluation
        spec, times = own[0].cell.benchmark, self.times(len(first))
        kinds, name = class_groups(spec), self.metric.name
        sampled = {s: sample_metrics(c, [self.metric], kinds, times)[name] for s, c in counts.items()}
        return Entry(spec, {s: found[s][0] for s in counts}, counts, sampled)

    def pair(self, a: str, b: str, benchmark: str) -> Difference | None:
        """Return row ``a`` minus row ``b`` on the same images, seeds in pairs; None where they have none in common."""
        if (a, b, benchmark) not in self._pairs:
            ours, theirs = self.entry(a, benchmark), self.entry(b, benchmark)
            same = ours and theirs and next(iter(ours.counts.values())).keys == next(iter(theirs.counts.values())).keys
            pairs = pair_seeds(ours.sampled, theirs.sampled) if ours and theirs and same else None
            self._pairs[a, b, benchmark] = difference(*pairs) if pairs else None
        return self._pairs[a, b, benchmark]

    def family(self, a: str, b: str) -> dict[str, tuple[Difference, float]]:
        """Return by benchmark the paired difference of two rows and its p-value, corrected over benchmarks (Holm)."""
        found = {x.id: self.pair(a, b, x.id) for x in self.plan.benchmarks}
        known = {name: d for name, d in found.items() if d is not None}
        corrected = holm([d.p for d in known.values()])
        return {name: (d, p) for (name, d), p in zip(known.items(), corrected, strict=True)}

    def families(self) -> dict[tuple[str, str], dict[str, tuple[Difference, float]]]:
        """Return :meth:`family` of every pair of rows with results in common, later row minus earlier."""
        pairs = {(b.id, a.id): self.family(b.id, a.id) for a, b in combinations(self.finished(), 2)}
        return {rows: found for rows, found in pairs.items() if found}

    def class_pairs(self, a: str, b: str, benchmark: str) -> list[Difference]:
        """Return row ``a`` minus row ``b`` in every class's IoU; empty where they cannot be paired."""
        ours, theirs = self.entry(a, benchmark), self.entry(b, benchmark)
        if self.pair(a, b, benchmark) is None or ours is None or theirs is None:
            return []
        times = self.times(len(next(iter(ours.counts.values()))))
        return class_differences(list(ours.counts.values()), list(theirs.counts.values()), times)

    def finished(self) -> list[RowRuns]:
        """Return the rows with at least one finished evaluation."""
        return [r for r in self.rows if any(self.entry(r.id, b.id) for b in self.plan.benchmarks)]

    def baseline(self, name: str | None = None) -> RowRuns:
        """Return the row called ``name``, else the first finished one that was trained, else the first finished one.

        Raises UsageError for an unknown row and where nothing is finished.
        """
        finished = self.finished()
        if not finished:
            raise UsageError(
                f"{self.plan.table.name} has no finished cell",
                expected="at least one evaluation with its counts",
                found=f"{len(self.cells)} cells, none done",
                mend=command("repro", "run", *self._asked(), *self.plan.assets.named_folders),
            )
        if name is not None:
            mend = command("repro", "describe", *self._asked(), *self.plan.assets.named_folders)
            return known_as(f"finished row of {self.plan.table.name}", name, {r.id: r for r in finished}, mend=mend)
        return next((r for r in finished if r.runs[0].train), finished[0])

    def _asked(self) -> tuple[str, ...]:
        """Return the table and the profile as words of a command."""
        return self.plan.table.name, "--profile", self.plan.profile.name

    def provenance(self, run: Run) -> dict[str, Any] | None:
        """Return what ``run`` was made from, as written when it began; None where it was not begun."""
        path = self.plan.assets.store.run(run.id) / "provenance.json"
        return read_json(path) if path.is_file() else None

    def losses(self, run: Run) -> list[dict[str, Any]]:
        """Return the logged iterations of a training in order, each once; empty where there was none."""
        return read_losses(self.plan.assets.store.run(run.id) / LOSSES)


def read_losses(path: Any) -> list[dict[str, Any]]:
    """Read the records of a ``losses.jsonl`` by iteration; a figure logged again counts as last logged.

    An iteration may have two lines: its losses, and what an evaluation after it found.
    """
    if not path.is_file():
        return []
    records: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the line a kill cut short
            continue
        records[record["iteration"]] = records.get(record["iteration"], {}) | record
    return [records[i] for i in sorted(records)]
