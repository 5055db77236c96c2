"""From a table and a profile to runs and cells: what must be computed, and its content address.

Nothing here imports torch: a plan, and the recognition of finished work, take well under a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.configuration.profiles import Profile, with_variants
from repro.configuration.tables import Row, Table
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.protocol import protocol_digest
from repro.errors import UsageError, check_known, command
from repro.hashing import digest, plain
from repro.methods import MethodEntry, get_method
from repro.paths import DEFAULT_RUNS
from repro.runs.addresses.judging import evaluation_place, run_place
from repro.runs.addresses.places import Place
from repro.runs.assets import Assets
from repro.runs.store import FINAL_WEIGHTS
from repro.towers.kind import TowerPlan
from repro.training.settings import TrainSettings


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
        like, *_ = self.assets.tower_chain(self.row.tower)  # a made tower has the sizes of the one it begins as
        tuned = sizes.get(self.row.tower, sizes.get(like, {}))
        return self.entry.make_options({**tuned, **self.row.options})

    @cached_property
    def train(self) -> TrainSettings | None:
        return self.profile.train_settings(self.entry.name) if self.entry.trainable else None

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What was asked for; its digest is the run's address. What the code makes of it: :mod:`.addresses.code`."""
        data = train_set(self.profile)
        names = data.prompt_names()
        # Options are made JSON-plain so that a tuple and the list it was read from give one address.
        return {
            "method": self.entry.name,
            "options": plain(dataclasses.asdict(self.options)),
            "tower": self.assets.tower_key(self.row.tower),
            "train": self.train.facts() if self.train else None,
            "data": self.assets.data_key(data.id) if self.train else None,
            "classes": digest([names, self.entry.class_facts(self.options, names)]) if self.train else None,
            "seed": self.seed,
        }

    @cached_property
    def address(self) -> str:
        """What the run is called when nothing of that name was made by code that computes something else."""
        return f"{self.entry.name}-{self.profile.name}-{self.row.tower}-s{self.seed}-{digest(self.facts, 10)}"

    @property
    def place(self) -> Place:
        """Where the run lies or will lie, and why an earlier one is not used."""
        return self.assets.remember(f"run {self.address}", lambda: run_place(self))

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.place.path.name

    @property
    def trained(self) -> bool:
        """Whether nothing is left to train."""
        return self.train is None or (self.place.path / FINAL_WEIGHTS).is_file()


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
        """The address of the evaluation within its run."""
        return evaluation_key(self.run, self.benchmark, self.run.assets.data_key(self.benchmark.id))

    @property
    def place(self) -> Place:
        """Where the evaluation lies or will lie, and why an earlier one is not used."""
        run, name = self.run, f"cell {self.run.id} {self.benchmark.id} {self.key}"
        return run.assets.remember(
            name, lambda: evaluation_place(run, self.benchmark.id, self.key, self.protocol_digest)
        )

    @property
    def stale(self) -> str | None:
        """Why what was made before is not used and in which run it is, None where nothing was or where it is used."""
        run = self.run.place
        if not self.run.trained or (run.stale and self.run.train is None):
            return run.stale and f"{run.stale} ({run.was})"
        return self.place.stale and f"{self.place.stale} ({self.run.id})"


def evaluation_key(
    run: Run, benchmark: Benchmark, data_key: str, weights: str = "own", speedups: Mapping[str, Any] | None = None
) -> str:
    """Return the address of an evaluation within its run: protocol, vocabulary, data, and weights if not its own."""
    kinds = run.entry.class_facts(run.options, benchmark.prompt_names())
    parts: list[Any] = [protocol_digest(benchmark, run.profile.protocol), data_key]
    parts += [{"classes": kinds}] if kinds is not None else []
    parts += [{"weights": weights}] if weights != "own" else []
    return digest([*parts, {"speedups": dict(speedups)}] if speedups else parts)


@dataclasses.dataclass(frozen=True)
class Plan:
    """All runs and cells of a table under a profile, in the order they are computed.

    ``measures`` (repro.metrics.measured) are wanted beside the counts of every cell. ``also`` are finished cells of
    predictions of other code (:mod:`.scored_rows`), which are shown below the others and never computed.
    """

    table: Table
    profile: Profile
    assets: Assets
    runs: tuple[Run, ...]
    benchmarks: tuple[Benchmark, ...]
    measures: tuple[str, ...] = ()
    also: tuple[Cell, ...] = ()

    @property
    def shown_runs(self) -> tuple[Run, ...]:
        """The runs of all rows, those of other code last."""
        return (*self.runs, *{cell.run.id: cell.run for cell in self.also}.values())

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
    """Return the plan for ``table`` under ``profile``, narrowed to the named methods, benchmarks and seeds.

    ``overrides`` replaces fields of the training settings (``iterations`` ..), for trials. Raises UsageError for
    unknown names and for an empty selection.
    """
    profile, table = profile.with_training(overrides or {}), table.with_methods(methods or ())
    selectors = {row.selector for row in table.rows}
    for name in methods or ():
        if name not in selectors:
            get_method(name)
    chosen = tuple(get_benchmark(b) for b in (benchmarks or table.benchmarks))
    mend = command("repro", "describe", table.name)
    named = [b.id for b in chosen if b.root is None]  # the columns of a table may be sets of the user's own
    check_known(f"benchmark of {table.name}", named, table.benchmarks, mend=mend)
    fitting = [r for r in table.rows if r.tower in profile.towers and (not methods or r.selector in methods)]
    profile, rows = with_variants(profile, [row.under(profile.name) for row in fitting])
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
            mend=mend,
        )
    return Plan(table, profile, assets, runs, chosen, tuple(measures))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """What a request narrows a table to: ``methods``, ``benchmarks`` and ``seeds`` (None: all); its stores."""

    runs: Path = DEFAULT_RUNS
    data_root: Path | None = None
    methods: Sequence[str] | None = None
    benchmarks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None

    def narrow(self, table: Table, profile: Profile, **more: Any) -> Plan:
        """Return :func:`make_plan` of ``table`` under ``profile`` for what is selected."""
        narrowed = {field.name: getattr(self, field.name) for field in dataclasses.fields(Selection)}
        return make_plan(table, profile, narrowed.pop("runs"), **narrowed, **more)


def train_set(profile: Profile) -> Benchmark:
    """Return the one training set that all methods share in ``profile``; UsageError where it is not known."""
    return get_benchmark(profile.train_set)
