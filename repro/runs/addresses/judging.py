"""The code that makes each kind of thing, and where runs, evaluations and maps lie, judged by it
(:mod:`repro.runs.addresses.code`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.runs.addresses.code import FILE, MADE_BEFORE, Verdict
from repro.runs.addresses.past import past_evaluations, past_runs, renamed
from repro.runs.addresses.places import Place, settle
from repro.runs.store import CELL
from repro.traces.subject import Subject, taken

if TYPE_CHECKING:
    from repro.runs.plan import Run
    from repro.sources.trace import Trace

TOWER = "repro.clip.tower:build_tower"
PAIRS = "repro.datasets.layout:prepared_pairs"


def training_subject(run: Run) -> Subject:
    """Return the code that trains ``run``: a method from its options on a tower like its own, by its schedule."""
    roots = ("repro.training.train:train", "repro.methods.build:new_method", run.entry.build, TOWER, PAIRS)
    asked = {"train": run.facts["train"]}
    return _subject(run, "the training", roots, asked, "repro.traces.methods:training_trace", run.train)


def evaluation_subject(run: Run) -> Subject:
    """Return the code that evaluates ``run``."""
    roots = ("repro.evaluation.many:evaluate_together", run.entry.build, TOWER, PAIRS)
    return _under_protocol(run, "the evaluation", roots, "repro.traces.methods:evaluation_trace")


def maps_subject(run: Run) -> Subject:
    """Return the code that measures the maps of ``run``."""
    roots = ("repro.evaluation.maps:measure_maps", run.entry.build, TOWER, PAIRS)
    return _under_protocol(run, "measuring maps", roots, "repro.traces.methods:maps_trace")


def prediction_subject(run: Run) -> Subject:
    """Return the code that predicts masks of photographs by ``run``."""
    roots = ("repro.evaluation.predict:Predictor", "repro.evaluation.predict:read_photo", run.entry.build, TOWER)
    return _under_protocol(run, "the prediction", roots, "repro.traces.methods:prediction_trace")


def _under_protocol(run: Run, what: str, roots: tuple[str, ...], trace: str) -> Subject:
    protocol = run.profile.protocol
    return _subject(run, what, roots, {"protocol": dataclasses.asdict(protocol)}, trace, protocol)


def _subject(run: Run, what: str, roots: tuple[str, ...], more: dict[str, Any], trace: str, settings: Any) -> Subject:
    plan = run.tower
    spec = {**dataclasses.asdict(plan.spec), "recipe": dict(plan.recipe)}
    asked = {"method": run.entry.name, "options": run.facts["options"], "tower": spec, **more}

    def take() -> Trace:
        return taken(trace, run.entry, run.options, run.assets.untrained_tower(run.row.tower), settings)

    return Subject(what, roots, asked, take)


def miniature_subject(data: Mapping[str, Any]) -> Subject:
    """Return the code that draws and prepares the data of a profile."""
    from repro.mini.synth import SETS, sets_of

    modules = sorted({type(d).__module__ for series in SETS for d in sets_of(series)})
    roots = ("repro.mini.draw:draw_miniature", *(f"{module}:DATA_SET" for module in modules))
    take = partial(taken, "repro.traces.data:miniature_trace", data["seed"], data.get("sizes", {}))
    return Subject("drawing the miniature", roots, dict(data), take)


def timed(run: Run, *roots: str) -> Subject:
    """Return the code from ``roots`` whose time with the method of ``run`` is measured; only its source is judged."""
    return Subject("the time", (*roots, run.entry.build, TOWER), None, None)


def run_place(run: Run) -> Place:
    """Return where ``run`` lies or will lie."""
    store = run.assets.store
    base = store.run(run.address)
    inputs = run.assets.inputs(run.row.tower)

    def judge(path: Path) -> Verdict:
        if run.train is None:  # nothing is made but what evaluations make
            past = not (path / FILE).is_file() and path.name != base.name
            return Verdict("unknown", MADE_BEFORE) if past else Verdict("same")
        return run.assets.code.judge(path / FILE, training_subject(run), inputs)

    before = [*renamed(base), *(p.folder for p in past_runs(store.root) if p.is_of(run))]
    return settle(base, lambda path: (path / "provenance.json").is_file(), judge, before)


def evaluation_place(run: Run, benchmark: str, key: str, protocol: str, *, part: bool = False) -> Place:
    """Return where the evaluation of ``run`` under ``key`` lies or will lie; ``protocol`` digests how it is made.

    ``part``: it is one of some of the images.
    """
    folder = run.place.path
    subject, inputs = evaluation_subject(run), run.assets.inputs(run.row.tower)
    return settle(
        run.assets.store.evaluation(folder.name, benchmark, key, part=part),
        lambda path: (path / CELL).is_file(),
        lambda path: run.assets.code.judge(path / FILE, subject, inputs),
        past_evaluations(folder, benchmark, protocol),
    )


def judged_folder(run: Run, subject: Subject, base: Path, done: str) -> Place:
    """Return where something else that is measured of ``run`` lies or will lie: ``done`` is the file that says so."""
    inputs = run.assets.inputs(run.row.tower)
    there: Callable[[Path], bool] = lambda path: (path / done).is_file()  # noqa: E731
    return settle(base, there, lambda path: run.assets.code.judge(path / FILE, subject, inputs))
