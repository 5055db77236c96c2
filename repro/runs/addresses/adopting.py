"""``repro runs why`` and ``adopt``: what a finished run rests on, what changed since, and taking it over knowingly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from repro.configuration.profiles import load_profile
from repro.configuration.tables import facts_of, load_table, table_names
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.protocol import protocol_digest
from repro.errors import ReproError
from repro.files import read_json, read_record, write_json
from repro.runs.addresses.code import FILE, Verdict
from repro.runs.addresses.judging import evaluation_subject, miniature_subject, training_subject
from repro.runs.addresses.past import data_of_past, rename
from repro.runs.addresses.stored import stored_run
from repro.runs.assets import Assets
from repro.runs.plan import Run, evaluation_key, make_plan
from repro.runs.store import CELL, COMPLETE
from repro.towers.registry import tower_folders
from repro.traces.subject import Subject


@dataclasses.dataclass(frozen=True)
class Piece:
    """Something stored that a number rests on: what it is, where it lies, whether the current code may use it.

    ``base`` is what it would be called now.
    """

    what: str
    folder: Path
    base: Path
    verdict: Verdict
    subject: Subject
    inputs: dict[str, str]


def pieces(run_id: str, runs: Path, data_root: Path | None = None) -> list[Piece]:
    """Return the drawn data, tower, training and finished evaluations of a run, judged by the current code."""
    run = stored_run(run_id, runs, data_root)
    return [*_made_from(run, run_id), *_training(run, run_id), *evaluations(run, run_id)]


def _made_from(run: Run, run_id: str) -> Iterator[Piece]:
    assets, folder = run.assets, run.assets.store.run(run_id)
    names = _names(folder, assets)
    if run.profile.synthetic and (data := names.get("data")) is not None:
        base = assets.store.cache / "data" / f"{run.profile.name}-{assets.data_key('')}"
        yield _piece(assets, "drawn data", base.with_name(data), base, miniature_subject(run.profile.data), {})
    tower, making = names.get("tower"), assets.making(run.row.tower)
    if tower is None or making is None:
        return
    base = assets.cache / "clip" / making.name
    yield _piece(assets, f"tower ({run.tower.title})", base.with_name(tower), base, making.subject, dict(making.inputs))


def _names(folder: Path, assets: Assets) -> dict[str, str]:
    """Return the names of the made things a run was made from: as it says itself, or as version 0.1.0 called them."""
    for path in (folder / FILE, *sorted(folder.glob(f"eval/*/{FILE}"))):
        if path.is_file():
            entries = [e for e in [read_json(path).get("made")] if e]
            if entries:
                return dict(entries[0]["inputs"])
    facts = read_json(folder / "provenance.json").get("facts", {})
    tower, found = facts.get("tower", {}), {}
    if facts.get("data"):
        found["data"] = f"{assets.profile.name}-{facts['data']}"
    elif assets.data_place is not None:  # a run that is not trained does not say on what it was evaluated
        past = next(iter(data_of_past(assets.store.cache / "data", assets.profile.data)), None)
        found |= {"data": past.name} if past is not None else {}
    if pattern := tower_folders(tower) if tower else "":
        made = next(assets.store.cache.glob(f"clip/{pattern}"), None)
        found |= {"tower": made.name} if made is not None else {}
    return {k: v for k, v in found.items() if (assets.store.cache / ("data" if k == "data" else "clip") / v).is_dir()}


def _training(run: Run, run_id: str) -> Iterator[Piece]:
    if run.train is None:
        return
    folder, inputs = run.assets.store.run(run_id), run.assets.inputs(run.row.tower)
    yield _piece(run.assets, "training", folder, folder.with_name(run.address), training_subject(run), inputs)


def evaluations(run: Run, run_id: str) -> Iterator[Piece]:
    """Yield the finished evaluations of a run by its own weights and the profile's protocol."""
    subject, inputs = evaluation_subject(run), run.assets.inputs(run.row.tower)
    for path in sorted(run.assets.store.run(run_id).glob(f"eval/*/{COMPLETE}")):
        folder = path.parent
        if not (folder / CELL).is_file():
            continue
        cell, record = read_record(folder / CELL, "key"), read_record(path)
        if cell.get("weights", "own") != "own" or cell.get("speedups") or "benchmark" not in record:
            continue
        benchmark = get_benchmark(record["benchmark"])
        if record.get("protocol_digest") != protocol_digest(benchmark, run.profile.protocol):
            continue
        key = evaluation_key(run, benchmark, run.assets.data_key(benchmark.id))
        if "data" in cell and cell["key"] != key:
            continue
        yield _piece(run.assets, f"evaluation on {benchmark.id}", folder, folder, subject, inputs)


def _piece(assets: Assets, what: str, folder: Path, base: Path, subject: Subject, inputs: dict[str, str]) -> Piece:
    return Piece(what, folder, base, assets.code.judge(folder / FILE, subject, inputs), subject, inputs)


def adopt(
    run_id: str, runs: Path, data_root: Path | None, reason: str, log: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Take over a run with the drawn data, the tower and the evaluations it rests on; what was taken over, in words.

    Nothing is computed and nothing removed: notes are written beside what is there. What the current code agrees with
    needs none. Raises UsageError as :func:`repro.runs.addresses.stored.stored_run` does.
    """
    taken: list[str] = []
    for level in (_made_from, _training, evaluations):
        run = stored_run(run_id, runs, data_root)  # anew: what was taken over before changes what rests on it
        for piece in level(run, run_id):
            if piece.verdict.fits:
                continue
            why = f"{reason}; {piece.verdict.reason}" if reason else piece.verdict.reason
            run.assets.code.adopt(piece.folder / FILE, piece.subject, piece.inputs, why)
            rename(piece.folder, piece.base)
            log(f"took over {piece.what} in {piece.folder}")
            taken.append(piece.what)
    run = stored_run(run_id, runs, data_root)
    if run.train is None:
        rename(run.assets.store.run(run_id), run.assets.store.run(run.address))
        if not (run.assets.store.run(run_id) / FILE).is_file() and run_id != run.address:
            note = {"format": 1, "what": "no training", "made": None, "taken": []}
            write_json(run.assets.store.run(run_id) / FILE, note)
    _adopt_measures(run, run_id)
    return taken


def _adopt_measures(run: Run, run_id: str) -> None:
    """Let measures of version 0.1.0 stand for current ones: they were counted from what was taken over."""
    from repro.metrics.measured import AS, MEASURES, measure_folder

    for piece in evaluations(run, run_id):
        for name in MEASURES:
            benchmark = get_benchmark(read_json(piece.folder / COMPLETE)["benchmark"])
            now = measure_folder(piece.folder, name, benchmark)
            if now.is_dir():
                continue
            for path in sorted(piece.folder.glob(f"measures/{name}-*/measure.json")):
                write_json(path.parent / AS, {"as": now.name})


def uses(run: Run, run_id: str) -> tuple[list[str], list[str]]:
    """Return the rows of tables that use the run, and those of its name that do not, with what they ask otherwise."""
    found: list[str] = []
    others: list[str] = []
    for name in table_names():
        table = load_table(name)
        if not facts_of(table).evaluates:
            continue
        try:
            profile = load_profile(run.profile.name)
            root = None if run.profile.synthetic else run.assets.data_root
            plan = make_plan(table, profile, run.assets.store.root, data_root=root, seeds=[run.seed])
        except ReproError:  # no row of the table is in this profile
            continue
        for other in plan.runs:
            if other.id == run_id:
                found.append(f"{name}: {other.row.title}")
            elif other.row.id == run.row.id and other.entry.name == run.entry.name:
                gaps = differences(run.facts, other.facts)
                text = f"asks otherwise: {'; '.join(gaps)}" if gaps else f"uses {other.id}"
                others.append(f"{name}: {other.row.title} {text}")
    return found, others


def differences(then: Any, now: Any, name: str = "") -> list[str]:
    """Return what differs between two nested plain values, one line each: ``options.k: 96 then, 48 now``."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys = sorted({*then, *now})
        return [line for k in keys for line in differences(then.get(k), now.get(k), f"{name}.{k}" if name else k)]
    return [] if then == now else [f"{name}: {then} then, {now} now"]
