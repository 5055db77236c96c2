"""What the gate on numbers computes: every set, measure, tower and method there is, and choices of options.

All of it are traces as a store keeps them (:mod:`repro.traces`), of the miniature's sizes. They come in the order of
causes: what a method is given before the method, so that the first difference is where the change is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from repro.clip.names import BUILT_IN
from repro.clip.spec import TowerSpec
from repro.configuration.profiles import Profile, load_profile, profile_names
from repro.configuration.tables import Row
from repro.datasets.benchmarks import all_sets
from repro.datasets.protocol import Protocol
from repro.errors import UsageError
from repro.hashing import digest
from repro.methods import MethodEntry, get_method, registry
from repro.methods.options import choices
from repro.metrics.measured import MEASURES
from repro.metrics.trace import measure_trace
from repro.paths import DEFAULT_RUNS
from repro.runs.addresses import judging
from repro.runs.assets import Assets
from repro.runs.gates.class_signal import signal_subject
from repro.runs.plan import Run
from repro.towers.kind import Tower
from repro.traces.subject import Subject, taken
from repro.training.settings import TrainSettings

if TYPE_CHECKING:
    from repro.sources.trace import Trace

PROFILE, TOWER = "mini", "base"
"""Whose sizes the work has, and which of its towers methods are built on."""
IMAGE_SIDE = 128
"""Of the frame in which regions are named."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece of the work: its name, how its trace is taken, and the method it belongs to, "" for none."""

    name: str
    take: Callable[[], Trace]
    method: str = ""


def pieces(methods: Sequence[str] | None = None) -> Iterator[Piece]:
    """Yield all pieces, or those of ``methods``; UsageError for an unknown one."""
    profile = load_profile(PROFILE)
    assets = Assets(profile, DEFAULT_RUNS, None)
    if methods is None:
        yield from _data(profile)
        yield from _towers(assets)
    for entry in registry().values() if methods is None else map(get_method, methods):
        yield from _method(entry, assets)


def _data(profile: Profile) -> Iterator[Piece]:
    for name in profile_names():
        yield Piece(f"profile {name}", partial(_settings, name))
    for data in all_sets().values():
        yield Piece(f"set {data.id}", partial(taken, "repro.traces.data:labels_trace", data))
    for name, kind in MEASURES.items():
        yield Piece(f"measure {name}", partial(measure_trace, kind))
    yield Piece("concepts", partial(taken, "repro.traces.data:catalogue_trace"))
    yield _piece("miniature", judging.miniature_subject(profile.data))


def _towers(assets: Assets) -> Iterator[Piece]:
    """Yield every architecture that a profile or this project names, and one training of each kind."""
    from repro.traces.fixture import small_config

    specs = {name: TowerSpec(model=name, weights=None, resolution=64) for name in BUILT_IN}
    for profile in map(load_profile, profile_names()):
        towers = Assets(profile, assets.store.root, None)
        specs |= {f"{profile.name} {key}": towers.untrained_tower(key) for key in profile.towers}
    seen = set()
    for name, spec in specs.items():
        read_out = (spec.last_block, spec.dense_residual, spec.position, spec.drop_remainder)
        config = {k: v for k, v in small_config(spec)[0].items() if k != "embed_dim"}
        kind = digest([config, read_out])
        if kind not in seen:
            seen.add(kind)
            yield Piece(f"tower {name}", partial(taken, "repro.traces.towers:dense_trace", spec))
    roots = set()
    for key in assets.profile.towers:
        making = assets.training(key)
        if making is not None and making.subject.roots not in roots:
            roots.add(making.subject.roots)
            yield _piece(f"training of tower {key}", making.subject)
            yield from (_piece(name, other) for name, other in assets.kind_of(key).readings(Tower(key, assets)))
    yield _piece("class signal", signal_subject(assets, TOWER))
    regions = partial(taken, "repro.traces.towers:regions_trace", assets.untrained_tower(TOWER), IMAGE_SIDE, ())
    yield Piece("regions", regions)


def _method(entry: MethodEntry, assets: Assets) -> Iterator[Piece]:
    """Yield what a run of ``entry`` goes through with its own options, then one loss for each other choice of one."""
    run = _run(entry, assets, {})
    subjects = {
        "training": judging.training_subject,
        "evaluation": judging.evaluation_subject,
        "maps": judging.maps_subject,
        "prediction": judging.prediction_subject,
    }
    for what, subject in subjects.items():
        if what != "training" or run.train is not None:
            yield _piece(f"{entry.name} {what}", subject(run), entry.name)
    for option, value in choices(entry.options):
        other = _run(entry, assets, {option: value})
        try:
            _ = other.options
        except UsageError:  # a choice that needs another one, too
            continue
        yield Piece(f"{entry.name} {option}={value}", partial(_options, other), entry.name)


def _run(entry: MethodEntry, assets: Assets, options: dict[str, Any]) -> Run:
    row = Row(f"{entry.name}-{TOWER}", entry.title, entry.name, TOWER, options)
    return Run(row, assets.profile, assets.profile.towers[TOWER], entry, assets.profile.seeds[0], assets)


def _piece(name: str, subject: Subject, method: str = "") -> Piece:
    assert subject.take is not None
    return Piece(name, subject.take, method)


# Traces import torch, and a plan of the work does not.
def _settings(name: str) -> Trace:
    from repro.traces.data import numbers

    profile = load_profile(name)
    trace: dict[str, list[float]] = {}
    for field in dataclasses.fields(profile):
        value = getattr(profile, field.name)
        if field.name == "towers":
            value = {key: dataclasses.asdict(plan) for key, plan in value.items()}
        plain = value.facts() if isinstance(value, TrainSettings) else value
        plain = dataclasses.asdict(plain) if isinstance(plain, Protocol) else plain
        trace |= numbers(field.name, plain)
    return trace


def _options(run: Run) -> Trace:
    tower, settings = run.assets.untrained_tower(run.row.tower), run.train or run.profile.train
    return taken("repro.traces.methods:options_trace", run.entry, run.options, tower, settings)
