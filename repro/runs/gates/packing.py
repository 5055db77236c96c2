"""Trained runs of a store become the packed weights and the values of ``repro check --weights``."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from repro.configuration.profiles import Profile, load_profile
from repro.configuration.tables import load_table
from repro.datasets.benchmarks import BENCHMARKS
from repro.errors import UsageError
from repro.files import write_atomic
from repro.hashing import plain
from repro.runs.gates.first_images import Measured, Work, measure_all, series_of
from repro.runs.gates.packed import SUFFIX, pack
from repro.runs.gates.weights import Progress, WeightsReference, WeightsRequest
from repro.runs.plan import Cell, Run, make_plan
from repro.runs.provenance import package_versions
from repro.runs.store import RunStore

TABLE = "table1"
IMAGES = {"A-847": 12, "PC-459": 16, "A-150": 24, "PC-59": 24, "PAS-20": 48, "PAS-20b": 48}
"""How many images of each benchmark are taken: all methods in about a minute on two cores."""


@dataclasses.dataclass(frozen=True)
class WeightsUpdated:
    """What :func:`update_weights` wrote, and the sizes of the packed files in bytes."""

    file: Path
    reference: WeightsReference
    sizes: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data (docs/regression-gate.md)."""
        cells = {name: [dataclasses.asdict(cell) for cell in of] for name, of in self.reference.cells.items()}
        return {"reference": str(self.file), "bytes": dict(self.sizes), "cells": cells}


def update_weights(request: WeightsRequest, progress: Progress | None = None) -> WeightsUpdated:
    """Pack the trained methods of table 1 in the run store, evaluate them and write what they reach.

    What is packed of methods that are not asked for stays. Raises UsageError where one is not trained.
    """
    old = WeightsReference.load(request) if request.file.is_file() else None
    profile = request.profile or (old.profile if old else "mini")
    runs = _trained(request, profile)
    kept = old if old and request.methods and old.profile == profile else None
    images = {c.benchmark: c.images for c in next(iter(kept.cells.values()))} if kept else _images(runs[0].profile)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        methods = {run.entry.name: _packed(run, folder) for run in runs}
        work = [
            Work(name, facts, folder / facts["file"] if facts["file"] else None, images, profile, request.runs)
            for name, facts in methods.items()
        ]
        cells: dict[str, Sequence[Measured]] = {}
        for name, cells[name], seconds in measure_all(work, progress):
            methods[name]["seconds"] = round(seconds, 1)
        _moved(folder.glob(f"*{SUFFIX}"), request.folder)
    reference = WeightsReference(
        profile,
        {**(kept.methods if kept else {}), **methods},
        {**(kept.cells if kept else {}), **cells},
        package_versions(),
    )
    reference.save(request.file)
    files = {name: request.folder / facts["file"] for name, facts in reference.methods.items() if facts["file"]}
    for path in request.folder.glob(f"*{SUFFIX}"):
        if path not in files.values():
            path.unlink()
    return WeightsUpdated(request.file, reference, {name: path.stat().st_size for name, path in files.items()})


def _trained(request: WeightsRequest, profile: str) -> list[Run]:
    """Return the first row of each method that is asked for, trained from the profile's first seed."""
    loaded, table = load_profile(profile), load_table(TABLE)
    plan = make_plan(table, loaded, request.runs, methods=request.methods, seeds=loaded.seeds[:1])
    runs = list({run.entry.name: run for run in reversed(plan.runs)}.values())[::-1]
    if open_ := [run for run in runs if not run.trained]:
        raise UsageError(
            f"not trained in {request.runs}: {', '.join(run.entry.name for run in open_)}",
            expected=f"finished runs of {TABLE}, seed {loaded.seeds[0]}",
            found=", ".join(run.id for run in runs if run.trained) or "none",
            mend=request.renewing(),
        )
    return runs


def _images(profile: Profile) -> dict[str, int]:
    """Return how many images of each benchmark are taken under ``profile``: no more than it draws."""
    sizes: Mapping[str, int] = profile.data.get("sizes", {})
    return {name: min(count, sizes.get(series_of(name), count)) for name, count in IMAGES.items()}


def _packed(run: Run, folder: Path) -> dict[str, Any]:
    """Pack the weights of ``run`` into ``folder`` and return what is recorded of it."""
    from repro.clip.tower import build_tower
    from repro.methods.build import new_method
    from repro.methods.weights import read_weights

    facts: dict[str, Any] = {
        "row": run.row.id,
        "tower": run.row.tower,
        "tower_key": plain(run.assets.tower_key(run.row.tower)),
        "options": plain(dataclasses.asdict(run.options)),
        "seed": run.seed,
        "file": "",
    }
    if run.train is None:
        return facts
    stored = read_weights(run.assets.store.weights(run.id))
    method = new_method(run.entry, build_tower(run.assets.ensure_tower(run.row.tower)), run.options, run.seed)
    facts |= {"file": f"{run.entry.name}{SUFFIX}", "run": run.id, "train": dataclasses.asdict(run.train)}
    facts["whole_sets"] = _reached(run)
    content = pack(
        stored["state_dict"], method.state_dict(), {**facts, "packages": package_versions()}, folder / facts["file"]
    )
    return {**facts, "content": content}


def _reached(run: Run) -> dict[str, float]:
    """Return the mIoU in percent of the run itself on all images, where it is evaluated."""
    records = {name: RunStore.result(Cell(run, benchmark).place.path) for name, benchmark in BENCHMARKS.items()}
    return {name: round(100 * record["miou_gt"], 3) for name, record in records.items() if record is not None}


def _moved(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        with path.open("rb") as source:
            write_atomic(folder / path.name, partial(shutil.copyfileobj, source))
