"""What a command or a notebook asks for, as frozen values: equal requests have equal addresses in a store."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from repro.configuration.backbone import swap
from repro.configuration.changes import TRAIN_SET, changed
from repro.configuration.profiles import Profile, load_profile
from repro.configuration.published import PublishedRows
from repro.configuration.tables import Row
from repro.console import Log, log
from repro.datasets.benchmarks import BENCHMARKS, get_benchmark
from repro.errors import UsageError, command
from repro.mends import same_folders
from repro.methods import get_method
from repro.paths import DEFAULT_RESULTS, DEFAULT_RUNS
from repro.runs.assets import Assets
from repro.runs.plan import Run, Selection
from repro.runs.store import RunStore
from repro.runs.weights.imported import imported_run
from repro.runs.weights.official import own_weights
from repro.stats import RESAMPLES
from repro.training.settings import Placement

if TYPE_CHECKING:
    from repro.methods.speedups import Speedups

UNTRAINED = "none"
"""In place of a weights file: the method as it is before its training."""


@dataclasses.dataclass(frozen=True)
class ProfileRequest:
    """A profile by name or file, with another backbone on one of its towers (docs/backbones.md) where one is named.

    ``changes`` replace single values of it by name (``train.lr``, ``protocol.overlap``). ``zero_shot_bar`` replaces
    how many times better than chance dense features must be before a training.
    """

    profile: str = "mini"
    tower: str = "base"
    backbone: str | None = None
    dense_residual: Literal["cls", "token"] | None = None
    zero_shot_bar: float | None = None
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    runs: Path = DEFAULT_RUNS

    @property
    def swapped(self) -> bool:
        """Whether a tower of the profile is changed."""
        return bool(self.backbone or self.dense_residual)

    def load(self) -> Profile:
        """Read the profile and change its tower; UsageError for unknown names and for a negative bar."""
        profile = changed(load_profile(self.profile), self.changes)
        if self.zero_shot_bar is not None:
            if not self.zero_shot_bar >= 0:
                raise UsageError(
                    "a bar must not be negative", expected="--zero-shot-bar 0 or more", found=self.zero_shot_bar
                )
            profile = dataclasses.replace(profile, zero_shot_bar=self.zero_shot_bar)
        if not self.swapped:
            return profile
        return swap(
            profile,
            self.backbone,
            tower=self.tower,
            dense_residual=self.dense_residual,
            cache=RunStore(self.runs).cache,
        )


@dataclasses.dataclass(frozen=True)
class RunRequest(ProfileRequest):
    """One run: a method with its options on a tower of a profile, from one seed, in a store.

    ``options`` are those of the method that differ from the profile's; ``training`` replaces fields of
    :class:`repro.training.settings.TrainSettings` (``iterations``, ``lr``), also those the profile sets for a method.
    """

    method: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_root: Path | None = None

    def own(self, weights: Path | str | None, log: Log = log) -> Path | str | None:
        """Return ``weights`` as they are loaded: of an official checkpoint its import, made where it is not there.

        Raises UsageError for an unknown method, and as :func:`repro.runs.weights.official.own_weights`.
        """
        if weights is None or weights == UNTRAINED:
            return weights
        path = own_weights(Path(weights), get_method(self.method).name, RunStore(self.runs).cache, log)
        return weights if path == Path(weights) else path

    def run(self, weights: Path | str | None = None, *, data: Literal["profile", "real", "none"] = "profile") -> Run:
        """Find the run: the same address as in a table where what is asked is the same.

        An imported checkpoint as ``weights`` brings its own tower and options, and is a run of its own. ``data`` says
        what ``data_root`` is for: the profile's sets (an error where the profile draws its own), real sets to
        evaluate on whatever the profile, or nothing. Raises UsageError for unknown names.
        """
        profile = self.load().with_training(self.training)
        root = None if data == "none" or (data == "real" and profile.synthetic) else self.data_root
        assets = Assets(profile, self.runs, root)
        entry = get_method(self.method)
        if weights is not None:
            imported = imported_run(Path(weights), entry.name, self.options, assets)
            if imported is not None:
                if self.swapped:
                    raise UsageError(
                        f"{weights} brings its own backbone",
                        expected="no --backbone and no --dense-residual",
                        found="one of them",
                    )
                return imported
        plan = profile.tower(self.tower)
        row = Row(f"{entry.name}-{self.tower}", entry.title, entry.name, self.tower, self.options)
        return Run(row, profile, plan, entry, self.seed, assets)

    def command(self, verb: str, run: Run) -> str:
        """Write ``repro VERB`` for ``run``, which this request named; DIR where no data root was."""
        words: list[object] = ["--profile", self.profile]
        for field in dataclasses.fields(RunRequest):
            if field.name in ("tower", "seed", "backbone", "dense_residual"):
                value = getattr(self, field.name)
                words += [f"--{field.name.replace('_', '-')}", value] if value != field.default else []
        for name, value in self.changes.items():
            place = get_benchmark(value).described_by if name == TRAIN_SET else None
            words += ["--set", f"{name}={_literal(value)}"] if place is None else ["--dataset", place]
        words += [word for name, value in self.options.items() for word in ("-o", f"{name}={_literal(value)}")]
        root = None if run.profile.synthetic else self.data_root or "DIR"
        return command("repro", verb, run.entry.name, *words, *same_folders(self.runs, root))


@dataclasses.dataclass(frozen=True)
class TrainRequest:
    """A training of ``run`` on ``device`` (auto: a GPU if there is one)."""

    run: RunRequest
    device: str = "auto"
    placement: Placement = dataclasses.field(default_factory=Placement)


@dataclasses.dataclass(frozen=True)
class TuneRequest(ProfileRequest):
    """A search of training settings for each of ``methods`` on held-out training scenes (docs/tuning.md).

    ``seed`` is that of the draws; trainings are those of the profile's first seed. ``training`` replaces fields of the
    schedule, for trials of the search itself. ``results`` is the folder of its file (None: ./results/<profile>).
    """

    methods: Sequence[str] = ()
    trials: int = 8
    scenes: int = 100
    seed: int = 0
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_root: Path | None = None
    device: str = "auto"
    results: Path | None = None

    @property
    def folder(self) -> Path:
        """Where its file goes."""
        return self.results or DEFAULT_RESULTS / Path(self.profile).stem


@dataclasses.dataclass(frozen=True)
class EvalRequest:
    """An evaluation on benchmarks of the profile's data, or of real data below ``run.data_root``.

    ``benchmarks`` None: all that have data. ``weights``: a file, "none" for the untrained method, None for the run's
    own, which are trained first in a profile that draws its own data. ``save_predictions``: a folder for label pictures
    below a folder per benchmark (docs/predictions.md). ``limit``: only the first so many images, a marked part.
    """

    run: RunRequest
    benchmarks: Sequence[str] | None = None
    weights: Path | str | None = None
    split: str | None = None
    measures: Sequence[str] = ()
    device: str = "auto"
    placement: Placement = dataclasses.field(default_factory=Placement)
    speedups: Speedups | None = None
    save_predictions: Path | None = None
    limit: int | None = None

    @property
    def names(self) -> list[str]:
        """The benchmarks to look for."""
        return list(self.benchmarks or BENCHMARKS)


@dataclasses.dataclass(frozen=True)
class ScoreRequest:
    """The score of ``predictions`` of other code on a benchmark (docs/predictions.md): a folder, or detectron2's JSON.

    ``name`` is their title in tables (None: the folder's name). ``benchmark`` is that of the profile's data, or of real
    data below ``data_root``. ``first_class`` is the number of the first class, ``category_ids`` a file with the numbers
    of all.
    """

    predictions: Path
    benchmark: str
    name: str | None = None
    profile: str = "mini"
    runs: Path = DEFAULT_RUNS
    data_root: Path | None = None
    split: str | None = None
    limit: int | None = None
    measures: Sequence[str] = ()
    first_class: int = 0
    category_ids: Path | None = None


@dataclasses.dataclass(frozen=True)
class PredictRequest:
    """Label maps of images (files, folders, patterns) as files below ``out``.

    ``classes`` are the user's own names; or ``benchmark`` names one whose classes are meant. ``weights`` as in
    :class:`EvalRequest`, but nothing is trained.
    """

    run: RunRequest
    images: Sequence[str]
    out: Path
    classes: Sequence[str] | None = None
    benchmark: str | None = None
    weights: Path | str | None = None
    save_probs: bool = False
    overwrite: bool = False
    device: str = "auto"


@dataclasses.dataclass(frozen=True)
class CompareRequest:
    """A comparison of ``a`` and ``b``: run ids or folders, runs ``a,b,..`` of several seeds, or ``table:row``.

    ``benchmarks`` None: all that both were evaluated on. ``classes``: IoU differences of every class as well.
    """

    a: str
    b: str
    runs: Path = DEFAULT_RUNS
    profile: str = "mini"
    data_root: Path | None = None
    seeds: Sequence[int] | None = None
    benchmarks: Sequence[str] | None = None
    metrics: Sequence[str] = ("miou_gt", "miou_union")
    classes: bool = False
    resamples: int = RESAMPLES


@dataclasses.dataclass(frozen=True)
class TableRequest(ProfileRequest, Selection):
    """A table of a profile, narrowed to ``methods``, ``benchmarks`` and ``seeds`` (None: all), and how it is shown.

    A report ``computes`` nothing: measures that are not there are left out. ``training`` replaces fields of the
    training settings, for trials. ``results`` is the folder of its files (None: ./results/<profile>), ``formats``
    which. ``also`` names runs of predictions of other code (:class:`ScoreRequest`), which become rows below the others.
    ``timing`` and ``repeat`` are for tables of costs, ``calibrate`` for the estimate of a plan, ``baseline`` and
    ``row`` for differences and plots of a report. ``published`` says which rows of papers are printed: ``all`` of the
    table, ``ours`` (those with a measured row) or ``none``; None: all in LaTeX, ours elsewhere.
    """

    table: str = ""
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    measures: Sequence[str] = ()
    intervals: bool = False
    keep_implausible: bool = False
    only: str | None = None
    device: str = "auto"
    placement: Placement = dataclasses.field(default_factory=Placement)
    computes: bool = True
    timing: bool = True
    repeat: int | None = None
    calibrate: bool = False
    results: Path | None = None
    formats: Sequence[str] = ("csv", "latex", "md")
    baseline: str | None = None
    row: str | None = None
    also: Sequence[str] = ()
    published: PublishedRows | None = None

    def published_in(self, form: str) -> PublishedRows:
        """Say which published rows the table has in ``form`` (csv, latex, md, html)."""
        return self.published or ("all" if form == "latex" else "ours")

    def load(self) -> Profile:
        """Read the profile, which keeps numbers no better than chance where the request says so."""
        profile = super().load()
        return dataclasses.replace(profile, flag_implausible=False) if self.keep_implausible else profile

    @property
    def counted(self) -> tuple[str, ...]:
        """The measures that need a pass over the images, where something is computed; UsageError for unknown ones."""
        if not self.measures:
            return ()
        from repro.metrics.measured import check_measures, counted_measures

        return counted_measures(check_measures(self.measures)) if self.computes else ()

    @property
    def folder(self) -> Path:
        """Where the files of the table go."""
        return self.results or DEFAULT_RESULTS / Path(self.profile).stem

    def given(self, option: str) -> bool:
        """Tell whether the option of the commands called so was named."""
        if option == "no_timing":
            return not self.timing
        return bool(self.training.get(option) if option in ("iterations", "amp") else getattr(self, option))


def _literal(value: Any) -> str:
    """Write ``value`` so that ``-o name=TEXT`` reads it again: a string needs quotes only where it reads as more."""
    if not isinstance(value, str):
        return repr(value)
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
    return repr(value)
