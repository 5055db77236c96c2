"""A run of the store by its name: what it was asked is read from its provenance, never from the name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.clip.spec import TowerSpec
from repro.configuration.profiles import Profile, load_profile, profile_names, with_variants
from repro.configuration.tables import Row, load_table, table_names
from repro.errors import ReproError, UsageError, command, known_as, unknown_name
from repro.files import read_json
from repro.mends import same_folders
from repro.methods import get_method, registry
from repro.runs.addresses.past import PastRun, past_runs
from repro.runs.assets import Assets
from repro.runs.plan import Run
from repro.runs.scored import METHOD as PREDICTIONS
from repro.runs.scored import OTHER_CODE
from repro.runs.store import RunStore
from repro.towers.kind import TowerPlan
from repro.training.settings import TrainSettings


def run_names(store: RunStore) -> list[str]:
    """Return the names of all runs in the store."""
    return sorted(p.parent.name for p in store.root.glob("*/provenance.json"))


def matching_run(name: str, known: Sequence[str], runs_root: Path) -> str | None:
    """Find the one of ``known`` runs called ``name`` or that begins so, None for none; UsageError for several."""
    matching = [r for r in known if r == name] or [r for r in known if r.startswith(name)]
    if len(matching) > 1:
        raise UsageError(
            f"{name!r} begins several runs",
            expected="a unique prefix of a run id",
            found=", ".join(matching),
            mend=f"{command('repro', 'list', *same_folders(runs_root))} names all runs",
        )
    return matching[0] if matching else None


def find_run(store: RunStore, name: str) -> str:
    """Find the one run called ``name`` or whose name begins so; UsageError for none and for several."""
    known = run_names(store)
    found = matching_run(name, known, store.root)
    if found is None:
        raise unknown_name("run", name, known or ["none"], mend=command("repro", "list", "--runs", store.root))
    return found


def stored_run(run_id: str, runs_root: Path, data_root: Path | None = None) -> Run:
    """Load the run called ``run_id`` with the options, tower and schedule it was made from.

    UsageError for one not in the store, or whose method or profile this installation lacks.
    """
    store = RunStore(runs_root)
    record = store.run(run_id) / "provenance.json"
    if not record.is_file():
        raise unknown_name(
            "run", run_id, run_names(store) or ["none"], mend=command("repro", "list", "--runs", runs_root)
        )
    kept = read_json(record)
    facts = kept.get("facts", {})
    if facts.get("method") == PREDICTIONS:
        raise UsageError(
            f"{run_id} is {OTHER_CODE}: there is no method to load and no code to judge",
            expected="a run of a method",
            found=f"{facts.get('name')} ({facts.get('format')})",
            mend=f"use it where counts are enough: {command('repro', 'compare', run_id, 'RUN')}",
        )
    asked = kept.get("asked") or _asked_of_past(store, run_id)
    entry = known_as("method", str(asked["method"]), registry(), mend="install the package it comes with")
    if asked["profile"] not in profile_names():
        raise UsageError(
            f"run {run_id} belongs to a profile that does not come with the project",
            expected=f"one of {', '.join(profile_names())}",
            found=asked["profile"],
            mend="repro figures --table TABLE --profile FILE.py",
        )
    profile = _profile(load_profile(asked["profile"]), asked, facts)
    row = Row(asked["row"], asked["title"], entry.name, asked["tower"], facts["options"])
    assets = Assets(profile, runs_root, None if profile.synthetic else data_root)
    return Run(row, profile, profile.towers[asked["tower"]], entry, int(asked["seed"]), assets)


def _profile(profile: Profile, asked: Mapping[str, Any], facts: Mapping[str, Any]) -> Profile:
    """Return the profile with the tower and the schedule of the run."""
    towers = dict(profile.towers)
    if plan := asked.get("tower plan"):
        towers[asked["tower"]] = TowerPlan(plan["kind"], plan["title"], TowerSpec(**plan["spec"]), plan["recipe"])
    profile = dataclasses.replace(profile, towers=towers)
    if facts.get("train"):
        profile = dataclasses.replace(profile, train=TrainSettings(**facts["train"]), train_overrides={})
    return profile


def _asked_of_past(store: RunStore, run_id: str) -> dict[str, Any]:
    """Return what a run of version 0.1.0 was asked; UsageError where no tower of its profile gives it its name."""
    past = next((p for p in past_runs(store.root) if p.folder.name == run_id), None)
    if past is not None and past.profile in profile_names():
        for tower, plan in _towers(load_profile(past.profile)):
            begin = f"{past.facts['method']}-{past.profile}-{tower}-s{past.facts['seed']}-"
            if run_id.startswith(begin) and len(run_id) == len(begin) + 10:
                return _asked(past, tower, plan)
    raise UsageError(
        f"run {run_id} was made by version 0.1.0 in a profile or on a tower that is not known here",
        expected=f"a profile among {', '.join(profile_names())}",
        found=past.profile if past is not None else "a run without its configuration",
        mend=command("repro", "describe", run_id, "--runs", store.root),
    )


def _asked(past: PastRun, tower: str, plan: TowerPlan) -> dict[str, Any]:
    return {
        "profile": past.profile,
        "row": past.row,
        "title": get_method(past.facts["method"]).title if past.facts["method"] in registry() else past.row,
        "method": past.facts["method"],
        "tower": tower,
        "tower plan": {**dataclasses.asdict(plan), "recipe": dict(plan.recipe)},
        "seed": past.facts["seed"],
    }


def _towers(profile: Profile) -> Iterator[tuple[str, TowerPlan]]:
    """Yield the towers of ``profile``, and those that rows of tables make of them."""
    yield from profile.towers.items()
    for name in table_names():
        rows = [r for r in load_table(name).rows if r.tower in profile.towers and r.alignment]
        try:
            changed, _ = with_variants(profile, rows)
        except ReproError:
            continue
        yield from ((k, v) for k, v in changed.towers.items() if k not in profile.towers)
