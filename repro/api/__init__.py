"""The harness as a library: what the commands do, for scripts and notebooks (docs/api.md).

>>> from repro import load, predict, evaluate, train, run_table, compare
>>> model = load("clip", profile="smoke")
>>> model.predict("photo.jpg", ["cat", "dog", "sky"]).pixels

Every function takes the words of its command as keywords, or one of the frozen requests of
:mod:`repro.requests`; equal words have equal addresses in a store, so that what a command has made is found here
and the other way round. Errors are those of :mod:`repro.errors`; messages go to stderr.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from repro.requests import CompareRequest, EvalRequest, RunRequest, ScoreRequest, TableRequest, TrainRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repro.api.comparison import Comparison
    from repro.api.model import Model, Prediction
    from repro.rehearsal.result import Rehearsal
    from repro.runs.gates.check import Checked
    from repro.tables.kind import TableResult

T = TypeVar("T")
PATHS = ("runs", "data_root", "results", "against", "out", "predictions", "category_ids")
"""Words that are paths, which may be given as text."""

__all__ = [
    "add_data_set",
    "check",
    "compare",
    "evaluate",
    "figures",
    "load",
    "predict",
    "rehearse",
    "run_table",
    "score",
    "train",
]


def add_data_set(path: Path | str) -> str:
    """Make a data set of your own known, described by a TOML file (docs/own-data.md), and return its id.

    The id is then a benchmark like any other: ``evaluate("clip", [add_data_set("rooms.toml")])``. Raises UsageError
    for a file that is absent or describes no set.
    """
    from repro.datasets.registry import add_own_set

    return add_own_set(path)


def load(method: str | RunRequest, weights: Path | str | None = None, *, device: str = "auto", **words: Any) -> Model:
    """Load a method with its weights and keep it in memory: :meth:`repro.api.model.Model.predict` segments images.

    ``weights``: a file, "none" for the method before its training, None for what the store has of this run. ``words``:
    fields of :class:`repro.requests.RunRequest` (profile, tower, options, seed, runs, ..). Raises WeightsError
    where the run is not trained and for weights that do not fit, UsageError for unknown names.
    """
    from repro.api import model

    return model.load(_run(method, words), weights, device=device)


def predict(
    model: Model | str | RunRequest,
    images: Path | str | NDArray[np.uint8] | Sequence[Path | str | NDArray[np.uint8]],
    classes: Sequence[str] | str,
    **words: Any,
) -> list[Prediction]:
    """Segment one or several images, each a file or uint8 RGB (H, W, 3), and write nothing.

    ``model``: what :func:`load` gave, or the words for it. ``classes``: names, or the id of a benchmark. The label maps
    (H, W) are those ``repro predict`` writes. Raises what :func:`load` and :meth:`Model.predict` raise.
    """
    if isinstance(model, str | RunRequest):
        model = load(model, **words)
    several: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    return [model.predict(image, classes) for image in several]


def evaluate(
    method: str | RunRequest,
    benchmarks: Sequence[str] | None = None,
    weights: Path | str | None = None,
    *,
    split: str | None = None,
    measures: Sequence[str] = (),
    device: str = "auto",
    save_predictions: Path | str | None = None,
    limit: int | None = None,
    **words: Any,
) -> list[dict[str, Any]]:
    """Evaluate a method on benchmarks (None: all that have data) and return a row for each, as ``repro eval --json``.

    Fractions, not percent. The run's own weights are trained first where the profile draws its own data. Finished
    evaluations are read. ``save_predictions``: a folder for label pictures, which :func:`score` reads; ``limit``: only
    the first so many images. Raises DataError where a named benchmark has no data, WeightsError as :func:`load`.
    """
    from repro.api.running import evaluate_run

    names = [benchmarks] if isinstance(benchmarks, str) else benchmarks
    save = None if save_predictions is None else Path(save_predictions)
    run = _run(method, words)
    return evaluate_run(EvalRequest(run, names, weights, split, measures, device, save_predictions=save, limit=limit))


def score(predictions: Path | str, benchmark: str, **words: Any) -> dict[str, Any]:
    """Score predictions of other code on a benchmark and return the row of ``repro score --json``.

    ``predictions``: a folder of label pictures or arrays, or detectron2's JSON (docs/predictions.md). ``words``: fields
    of :class:`repro.requests.ScoreRequest` (name, profile, data_root, measures, ..). Raises DataError for predictions
    that do not belong to the images or are no class indices.
    """
    from repro.api import scoring

    return scoring.score(_request(ScoreRequest, {"predictions": predictions, "benchmark": benchmark, **words}))


def train(method: str | RunRequest, *, device: str = "auto", **words: Any) -> Path:
    """Train a method, or continue or recognise its training, and return the weights file.

    ``training={"iterations": 100}`` makes a trial, a run of its own. UsageError for a method that is not trained.
    """
    from repro.api.running import train_run

    run = train_run(TrainRequest(_run(method, words), device))
    return run.assets.store.weights(run.id)


def run_table(table: str, **words: Any) -> TableResult[Any]:
    """Make a table of any kind and return it: ``text``, ``to_json()``, ``states``, ``write(folder)``.

    ``words``: fields of :class:`repro.requests.TableRequest` (profile, methods, benchmarks, seeds, runs, ..). Finished
    cells are read, missing ones computed into the store; no file is written. Raises UsageError for unknown names.
    """
    from repro.api.tables import make_table

    return make_table(_request(TableRequest, {"table": table, **words}))


def rehearse(table: str, **words: Any) -> Rehearsal:
    """Rehearse a table of benchmarks: a few real steps and images per row, the hours of the whole, what would fail.

    ``words``: fields of :class:`repro.rehearsal.request.RehearsalRequest` (profile, data_root, methods, steps, images,
    minutes, ..). The result holds ``text``, ``to_json()``, ``rows``, ``hours`` and ``findings``; its figures are kept
    for plans of this machine. Raises UsageError for unknown names and tables of other kinds.
    """
    from repro.rehearsal.request import RehearsalRequest
    from repro.rehearsal.running import rehearse as rehearse_table

    return rehearse_table(_request(RehearsalRequest, {"table": table, **words}))


def compare(a: str, b: str, **words: Any) -> Comparison:
    """Compare two runs, or rows ``table:row``, on the same images, as ``repro compare``.

    ``words``: fields of :class:`repro.requests.CompareRequest`. The ``lines`` of the result hold estimates with
    95 % intervals and p-values. Raises UsageError where the two may not be compared.
    """
    from repro.api.comparison import compare_runs

    return compare_runs(_request(CompareRequest, {"a": a, "b": b, **words}))


def check(*tables: str, **words: Any) -> Checked:
    """Compare the finished cells of tables (none named: all of the reference) with their reference values.

    ``words``: fields of :class:`repro.runs.gates.reference.CheckRequest`. The result holds ``verdicts``, those that
    ``failed``, and ``to_json()``. Raises UsageError without a reference, RunError where no cell could be compared.
    """
    from repro.runs.gates.check import check_reference
    from repro.runs.gates.reference import CheckRequest

    found = check_reference(_request(CheckRequest, {"tables": tables, **words}))
    found.refuse_empty()
    return found


def figures(out: Path | str, **words: Any) -> list[Path]:
    """Draw pictures of what trained runs see below ``out``, as ``repro figures``, and return the files.

    ``words``: fields of :class:`repro.reports.figures.draw.FiguresRequest` (run or table, kind, benchmark, images, ..).
    Raises WeightsError where none of the runs is trained, UsageError for unknown names.
    """
    from repro.reports.figures.draw import FiguresRequest, draw_figures

    return draw_figures(_request(FiguresRequest, {"out": out, **words}))


def _run(method: str | RunRequest, words: dict[str, Any]) -> RunRequest:
    if isinstance(method, RunRequest):
        return dataclasses.replace(method, **words)
    return _request(RunRequest, {"method": method, **words})


def _request(kind: type[T], words: dict[str, Any]) -> T:
    """Make the request; paths may be given as text, unknown words are a UsageError."""
    from repro.errors import check_known

    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    check_known("word", words, known, mend=f"see repro.requests.{kind.__name__}")
    paths = {k: Path(v) for k, v in words.items() if k in PATHS and v is not None}
    return kind(**{**words, **paths})
