"""The code that makes each kind of thing, and where runs, evaluations and maps lie, judged by it
(:mod:`repro.runs.addresses.code`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.runs.addresses.code import FILE, MADE_BEFORE, Verdict
from repro.runs.addresses.past import past_evaluations, past_runs, renamed
from repro.runs.addresses.places import Place, settle
from repro.runs.store import CELL
from repro.traces.subject import Subject

if TYPE_CHECKING:
    from repro.runs.plan import Run
    from repro.sources.trace import Trace

TOWER = "repro.clip.tower:build_tower"
PAIRS = "repro.datasets.layout:prepared_pairs"


def training_subject(run: Run) -> Subject:
    """Return the code that trains ``run``: a method from its options on a tower like its own, by its schedule."""

    def take() -> Trace:
        from repro.traces.methods import training_trace

        assert run.train is not None
        return training_trace(run.entry, run.options, run.assets.untrained_tower(run.row.tower), run.train)

    asked = {**_asked(run), "train": run.facts["train"]}
    roots = ("repro.training.train:train", "repro.methods.build:new_method", run.entry.build, TOWER, PAIRS)
    return Subject("the training", roots, asked, take)


def evaluation_subject(run: Run) -> Subject:
    """Return the code that evaluates ``run``."""

    def take() -> Trace:
        from repro.traces.methods import evaluation_trace

        return evaluation_trace(run.entry, run.options, run.assets.untrained_tower(run.row.tower), run.profile.protocol)

    asked = {**_asked(run), "protocol": dataclasses.asdict(run.profile.protocol)}
    roots = ("repro.evaluation.many:evaluate_together", run.entry.build, TOWER, PAIRS)
    return Subject("the evaluation", roots, asked, take)


def maps_subject(run: Run) -> Subject:
    """Return the code that measures the maps of ``run``."""

    def take() -> Trace:
        from repro.traces.methods import maps_trace

        return maps_trace(run.entry, run.options, run.assets.untrained_tower(run.row.tower), run.profile.protocol)

    asked = {**_asked(run), "protocol": dataclasses.asdict(run.profile.protocol)}
    return Subject("measuring maps", ("repro.evaluation.maps:measure_maps", run.entry.build, TOWER, PAIRS), asked, take)


def prediction_subject(run: Run) -> Subject:
    """Return the code that predicts masks of photographs by ``run``."""

    def take() -> Trace:
        from repro.traces.methods import prediction_trace

        return prediction_trace(run.entry, run.options, run.assets.untrained_tower(run.row.tower), run.profile.protocol)

    asked = {**_asked(run), "protocol": dataclasses.asdict(run.profile.protocol)}
    roots = ("repro.evaluation.predict:Predictor", "repro.evaluation.predict:read_photo", run.entry.build, TOWER)
    return Subject("the prediction", roots, asked, take)


def miniature_subject(data: Mapping[str, Any]) -> Subject:
    """Return the code that draws and prepares the data of a profile."""

    def take() -> Trace:
        from repro.traces.data import miniature_trace

        return miniature_trace(data["seed"], data.get("sizes", {}))

    from repro.mini.synth import SETS, sets_of

    modules = sorted({type(d).__module__ for series in SETS for d in sets_of(series)})
    roots = ("repro.mini.draw:draw_miniature", *(f"{module}:DATA_SET" for module in modules))
    return Subject("drawing the miniature", roots, dict(data), take)


def timed(run: Run, *roots: str) -> Subject:
    """Return the code from ``roots`` whose time with the method of ``run`` is measured; only its source is judged."""
    return Subject("the time", (*roots, run.entry.build, TOWER), None, None)


def _asked(run: Run) -> dict[str, Any]:
    plan = run.tower
    spec = {**dataclasses.asdict(plan.spec), "recipe": dict(plan.recipe)}
    return {"method": run.entry.name, "options": run.facts["options"], "tower": spec}


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


def evaluation_place(run: Run, benchmark: str, key: str, protocol: str) -> Place:
    """Return where the evaluation of ``run`` under ``key`` lies or will lie; ``protocol`` digests how it is made."""
    folder = run.place.path
    subject, inputs = evaluation_subject(run), run.assets.inputs(run.row.tower)
    return settle(
        run.assets.store.evaluation(folder.name, benchmark, key),
        lambda path: (path / CELL).is_file(),
        lambda path: run.assets.code.judge(path / FILE, subject, inputs),
        past_evaluations(folder, benchmark, protocol),
    )


def judged_folder(run: Run, subject: Subject, base: Path, done: str) -> Place:
    """Return where something else that is measured of ``run`` lies or will lie: ``done`` is the file that says so."""
    inputs = run.assets.inputs(run.row.tower)
    there: Callable[[Path], bool] = lambda path: (path / done).is_file()  # noqa: E731
    return settle(base, there, lambda path: run.assets.code.judge(path / FILE, subject, inputs))
