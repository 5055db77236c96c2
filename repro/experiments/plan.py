"""From a table and a profile to runs and cells: what must be computed, and its content address.

Nothing here imports torch: a plan, and the recognition of finished work, take well under a second.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.benchmarks.protocol import protocol_digest
from repro.benchmarks.spec import TRAIN_SETS, Benchmark, get_benchmark
from repro.engine.settings import TrainSettings
from repro.errors import UsageError, unknown_name
from repro.experiments.aligned import sized_like, with_variants
from repro.experiments.assets import Assets
from repro.experiments.profiles import Profile, TowerPlan
from repro.experiments.tables import Row, Table
from repro.hashing import digest, source_digest
from repro.methods import MethodEntry, get_method

TRAIN_SET = "coco-stuff"
TRAIN_CODE = (
    "repro.engine.class_sample",
    "repro.engine.step",
    "repro.engine.train",
    "repro.engine.optim",
    "repro.data.pipeline",
    "repro.data.train_set",
    "repro.data.sampler",
    "repro.benchmarks.images",
)
"""Modules whose code decides what weights a training ends with, besides the method's own (MethodEntry.sources)."""
EVAL_CODE = ("repro.engine.infer", "repro.engine.evaluate", "repro.metrics", "repro.benchmarks.images")
"""Modules whose code decides what number an evaluation ends with, besides the method's own."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One method, built from its options on one tower, trained once (or not at all) from one seed."""

    row: Row
    profile: Profile
    tower: TowerPlan
    entry: MethodEntry
    seed: int
    assets: Assets

    @cached_property
    def options(self) -> Any:
        """The method's options: its defaults, then the profile's, then the row's."""
        sizes = self.profile.methods.get(self.entry.name, {})
        tuned = sizes.get(self.row.tower, sizes.get(sized_like(self.profile, self.row.tower), {}))
        return self.entry.make_options({**tuned, **self.row.options})

    @cached_property
    def train(self) -> TrainSettings | None:
        return self.profile.train_settings(self.entry.name) if self.entry.trainable else None

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything the weights of this run depend on; its digest is the run's address."""
        # Options are made JSON-plain so that a tuple and the list it was read from give one address.
        return {
            "method": self.entry.name,
            "options": json.loads(json.dumps(dataclasses.asdict(self.options))),
            "tower": self.assets.tower_key(self.row.tower),
            "train": dataclasses.asdict(self.train) if self.train else None,
            "data": self.assets.data_key(TRAIN_SET) if self.train else None,
            "seed": self.seed,
            "code": source_digest((*TRAIN_CODE, *self.entry.sources)),
        }

    @cached_property
    def id(self) -> str:
        return f"{self.entry.name}-{self.profile.name}-{self.row.tower}-s{self.seed}-{digest(self.facts, 10)}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of a table: a run on a benchmark."""

    run: Run
    benchmark: Benchmark

    @cached_property
    def protocol_digest(self) -> str:
        return protocol_digest(self.benchmark, self.run.profile.protocol)

    @cached_property
    def key(self) -> str:
        """The address of the evaluation within its run: protocol, data and the code that counts."""
        return digest([self.protocol_digest, self.run.assets.data_key(self.benchmark.id), source_digest(EVAL_CODE)])


@dataclasses.dataclass(frozen=True)
class Plan:
    """All runs and cells of a table under a profile, in the order they are worked off.

    ``measures`` (repro.measures) are wanted beside the counts of every cell.
    """

    table: Table
    profile: Profile
    assets: Assets
    runs: tuple[Run, ...]
    benchmarks: tuple[Benchmark, ...]
    measures: tuple[str, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        return [Cell(run, benchmark) for run in self.runs for benchmark in self.benchmarks]


def make_plan(
    table: Table,
    profile: Profile,
    runs_root: Path,
    *,
    data_root: Path | None = None,
    methods: Sequence[str] | None = None,
    benchmarks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    overrides: dict[str, Any] | None = None,
    measures: Sequence[str] = (),
) -> Plan:
    """The plan for ``table`` under ``profile``, narrowed to the named methods, benchmarks and seeds.

    ``overrides`` replaces fields of the training settings (``iterations`` ..), for trials. Raises UsageError for
    unknown names and for an empty selection.
    """
    if overrides:
        profile = dataclasses.replace(profile, train=dataclasses.replace(profile.train, **overrides))
    selectors = {row.selector for row in table.rows}
    for name in methods or ():
        if name not in selectors:
            get_method(name)
    chosen = tuple(get_benchmark(b) for b in (benchmarks or table.benchmarks))
    for b in chosen:
        if b.id not in table.benchmarks:
            raise unknown_name(f"benchmark of {table.name}", b.id, table.benchmarks)
    profile, rows = with_variants(profile, _chosen_rows(table.rows, profile, methods))
    assets = Assets(profile, runs_root, data_root)
    runs = tuple(
        Run(row, profile, profile.towers[row.tower], get_method(row.method), seed, assets)
        for row in rows
        for seed in (seeds or profile.seeds)
        if get_method(row.method).trainable or seed == (seeds or profile.seeds)[0]
    )
    if not runs:
        raise UsageError(
            f"{table.name} has no row for this selection",
            expected=f"methods among {sorted(selectors)}",
            found=f"methods {list(methods or [])}",
            mend=f"repro describe {table.name}",
        )
    return Plan(table, profile, assets, runs, chosen, tuple(measures))


def _chosen_rows(rows: Iterable[Row], profile: Profile, methods: Sequence[str] | None) -> list[Row]:
    return [r.under(profile.name) for r in rows if r.tower in profile.towers and (not methods or r.selector in methods)]


def train_set() -> Benchmark:
    """The one training set all methods share."""
    return TRAIN_SETS[TRAIN_SET]
