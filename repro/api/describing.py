"""What can be named, and everything known about one name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from repro.configuration.profiles import load_profile, profile_names
from repro.configuration.tables import load_table, table_names
from repro.datasets.benchmarks import TRAIN_SETS, all_sets
from repro.errors import command, unknown_name
from repro.mends import same_folders
from repro.methods import adapters, registry
from repro.paths import DEFAULT_RUNS
from repro.reports.coverage import outside
from repro.reports.tables.run_description import describe_run, summaries
from repro.runs.addresses.stored import matching_run, run_names
from repro.runs.plan import make_plan
from repro.runs.store import RunStore
from repro.tables.kind import kind_of
from repro.values import described, type_hints


@dataclasses.dataclass(frozen=True)
class DescribeRequest:
    """A table, method, benchmark, profile or run called ``name``; cells of a table are counted in ``profile``."""

    name: str
    profile: str = "mini"
    runs: Path = DEFAULT_RUNS
    data_root: Path | None = None


def catalogue() -> dict[str, dict[str, str]]:
    """Return everything that can be named, by kind: id -> one line; and what of the papers is left out, and why."""
    return {
        "tables": {n: load_table(n).caption for n in table_names()},
        "methods": {n: f"{e.title}: {e.paper}" for n, e in registry().items()},
        "benchmarks": {n: f"{b.title}, {b.num_classes} classes" for n, b in all_sets().items() if n not in TRAIN_SETS},
        "training sets": {n: f"{b.title}, {b.num_classes} classes" for n, b in TRAIN_SETS.items()},
        "profiles": {n: load_profile(n).title for n in profile_names()},
        "outside the project": outside(),
    }


def describe_name(request: DescribeRequest) -> dict[str, Any]:
    """Return everything known about one name, as plain values; UsageError for an unknown one."""
    name, store = request.name, RunStore(request.runs)
    folded = {b.casefold(): b for b in all_sets()}
    if name in table_names() or name.endswith(".py"):
        return {**dataclasses.asdict(load_table(name)), "done": _done(name, request)}
    if name in (methods := {**registry(), **adapters()}):
        entry = methods[name]
        defaults = entry.make_options()
        given = {field.name for field in dataclasses.fields(defaults) if field.init}
        return {
            "method": name,
            "title": entry.title,
            "paper": entry.paper,
            "trainable": entry.trainable,
            "options (default: the paper's)": {k: v for k, v in dataclasses.asdict(defaults).items() if k in given},
            "options take": {k: described(hint) for k, hint in type_hints(entry.options).items() if k in given},
            f"runs in {store.root}": dict(summaries(store, method=name)),
        }
    if name.casefold() in folded:
        benchmark = all_sets()[folded[name.casefold()]]
        runs = dict(summaries(store, benchmark=benchmark.id))
        return {**dataclasses.asdict(benchmark), "classes": list(benchmark.class_names()), "evaluated runs": runs}
    if name in profile_names():
        return dataclasses.asdict(load_profile(name))
    known_runs = run_names(store)
    if (run := matching_run(name, known_runs, store.root)) is not None:
        return describe_run(store, run)
    known = [*table_names(), *registry(), *all_sets(), *profile_names(), *known_runs]
    mend = command("repro", "list", *same_folders(store.root))
    raise unknown_name("table, method, benchmark, profile or run", name, known, mend=mend)


def _done(name: str, request: DescribeRequest) -> dict[str, Any]:
    """Say what is done of a table in the profile asked for: as its kind says it."""
    table, profile = load_table(name), load_profile(request.profile)
    if not any(r.tower in profile.towers for r in table.rows):
        return {"profile": profile.name, "state": "no row in this profile"}
    plan = make_plan(table, profile, request.runs, data_root=request.data_root)
    return {"profile": profile.name, **kind_of(table).progress(plan)}
