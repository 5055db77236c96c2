"""``repro figures``: from the runs and images that are asked for to the files of their pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.console import log, stdout_to_stderr
from repro.datasets import layout
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.images import read_label, stored_image
from repro.errors import UsageError, WeightsError
from repro.files import write_atomic
from repro.hardware import choose_device
from repro.measuring import figures as measured
from repro.paths import DEFAULT_RUNS
from repro.reports.figures.maps import CORRELATION, correlation_figure, explain_figure
from repro.reports.figures.plot_style import need_matplotlib
from repro.reports.figures.qualitative import (
    Example,
    benchmark_colours,
    chosen_images,
    comparison_figure,
    image_miou,
)
from repro.reports.figures.threshold import draw_thresholds
from repro.runs.addresses.stored import stored_run
from repro.runs.evaluations import Evaluation, Where, find_side, matching
from repro.runs.plan import Run, make_plan

if TYPE_CHECKING:
    from repro.evaluation.predict import ClassList
    from repro.methods.interface import Method

WORDS = {
    "wins": "largest gains of {0} on {1} in mIoU of an image",
    "losses": "largest losses of {0} to {1} in mIoU of an image",
    "failures": "images on which both {0} and {1} are worst",
}
FORMS: dict[str, dict[str, Any]] = {"pdf": {"dpi": 300, "metadata": {"CreationDate": None}}, "png": {"dpi": 200}}
"""How files of a comparison are saved, by ending."""


@dataclasses.dataclass(frozen=True)
class FiguresRequest:
    """Pictures below ``out`` of stored runs (``run``: their ids) or of the trained runs of a ``table``.

    ``kind``: ``maps``, what each run sees, or ``qualitative``, runs side by side on images chosen by their counts;
    ``run`` may then name ``table:row`` too; ``threshold``, mIoU over ``thresholds`` (None: 0.1 to 0.9).
    ``images`` None: ``count``; ``classes`` None: the ``rows`` largest.
    ``image``: pictures of one's own, segmented into the benchmark's classes and ``classes``, which are drawn.
    ``backbone``: dense maps of CLIP towers instead, by keys of the profile's or as ``SOURCE:WHAT``.
    """

    out: Path
    kind: Literal["maps", "qualitative", "threshold"] = "maps"
    run: Sequence[str] | None = None
    table: str | None = None
    backbone: Sequence[str] | None = None
    runs: Path = DEFAULT_RUNS
    profile: str = "mini"
    methods: Sequence[str] | None = None
    data_root: Path | None = None
    benchmark: str = "PC-59"
    images: Sequence[str] | None = None
    image: Sequence[Path] | None = None
    count: int = 4
    classes: Sequence[str] | None = None
    rows: int = 3
    thresholds: Sequence[float] | None = None
    device: str = "auto"


def draw_figures(request: FiguresRequest) -> list[Path]:
    """Draw what is asked for and return the files.

    Raises UsageError for names that do not exist and for runs that cannot be compared, WeightsError where none of the
    runs is trained, ResourceError without matplotlib.
    """
    if request.count < 1 or request.rows < 1:
        raise UsageError("a figure needs an image and a class", expected="--count and --rows of 1 or more")
    if request.image and (request.kind != "maps" or not request.classes):
        raise UsageError(
            "a picture of your own has no labels to choose by",
            expected='the kind maps, and classes to look for: --classes "dog; sky"',
            found=f"the kind {request.kind}" if request.classes else "no --classes",
        )
    if request.backbone:
        if request.kind != "maps":
            raise UsageError("towers predict no masks", expected="--backbone without a kind", found=request.kind)
        from repro.reports.figures.dense import draw_dense

        return draw_dense(request)
    if request.kind == "threshold":
        with stdout_to_stderr():
            return draw_thresholds(request, _runs(request))
    return _draw_maps(request) if request.kind == "maps" else _draw_qualitative(request)


# -- maps: what each run sees -------------------------------------------------------------------------------------
def _draw_maps(request: FiguresRequest) -> list[Path]:
    """For every image and run a row per class, and for every image the correlation maps of all runs."""
    benchmark = get_benchmark(request.benchmark)
    words = measured.words_of(benchmark, request.classes or ()) if request.image else None
    names = measured.class_titles(benchmark) if words is None else list(words.names)
    subject = benchmark.id if words is None else "photo"
    correlations: dict[str, list[tuple[str, measured.ImageData]]] = {}
    written: list[Path] = []
    untrained: list[WeightsError] = []
    with stdout_to_stderr():
        device = choose_device(request.device)
        runs = _runs(request)
        for run_id, run in runs:
            try:
                method = measured.load_trained(run, run_id, device)
            except WeightsError as error:
                log(f"left out: {error.message}")
                untrained.append(error)
                continue
            for data in _seen(request, run, method, benchmark, words):
                title = f"{run.row.title} ({run.tower.title})"
                place = f"profile {run.profile.name} | {subject} | {data.key}"
                path = request.out / f"{subject}_{data.key}_{run_id}.png"
                explain_figure(data, names, f"{title} | {run_id} | {place}", path)
                written.append(path)
                if CORRELATION in data.maps:
                    correlations.setdefault(data.key, []).append((f"{title}\n{run_id}", data))
        if not written:
            raise untrained[0]
        for key, columns in correlations.items():
            path = request.out / f"{subject}_{key}_correlation.png"
            place = f"correlation of image and text | profile {runs[0][1].profile.name} | {subject} | {key}"
            correlation_figure(columns, names, place, path)
            written.append(path)
    for path in written:
        log(f"wrote {path}")
    return written


def _seen(
    request: FiguresRequest, run: Run, method: Method, benchmark: Benchmark, words: ClassList | None
) -> Iterator[measured.ImageData]:
    """Yield what ``run`` sees in each image that is asked for."""
    if words is not None:
        for key, path in measured.keyed(request.image or ()):
            yield measured.photo_data(run, method, words, key, path, request.classes or ())
        return
    pairs = layout.prepared_pairs(benchmark, run.assets.ensure_set(benchmark, log))
    for pair in measured.choose_pairs(pairs, request.images, request.count):
        yield measured.image_data(run, method, benchmark, pair, request.classes, request.rows)


def _runs(request: FiguresRequest) -> list[tuple[str, Run]]:
    """Return ids in the store and the runs they were made from."""
    if request.run or not request.table:
        return [(name, stored_run(name, request.runs, request.data_root)) for name in request.run or ()]
    table, profile = load_table(request.table), load_profile(request.profile)
    plan = make_plan(table, profile, request.runs, data_root=request.data_root, methods=request.methods)
    return [(run.id, run) for run in plan.runs]


# -- qualitative: runs side by side -------------------------------------------------------------------------------
Shown = dict[int, Evaluation]
"""One run in the figure: its evaluations by seed, of which the first is drawn."""


def _draw_qualitative(request: FiguresRequest) -> list[Path]:
    """Draw wins, losses and failures of the first run against the second; the rest is drawn beside them."""
    need_matplotlib()
    if not request.run or len(request.run) < 2:
        raise UsageError(
            "a qualitative comparison needs two runs",
            expected="--run A,B: run ids, unique prefixes of them, or table:row",
            found=", ".join(request.run or []) or "none",
            mend="repro figures qualitative --run table1:ROW,table1:ROW --benchmark PC-59 --out DIR",
        )
    benchmark = get_benchmark(request.benchmark)
    shown = _shown(request, benchmark)
    with stdout_to_stderr():
        return _draw_groups(request, shown, benchmark, choose_device(request.device))


def _shown(request: FiguresRequest, benchmark: Benchmark) -> list[Shown]:
    where = Where(request.runs, request.profile, request.data_root)
    shown: list[Shown] = []
    for name in request.run or ():
        side = find_side(name, where)
        found = side.evaluations.get(benchmark.id)
        if not found:
            raise UsageError(
                f"{name} is not evaluated on {benchmark.id}",
                expected="a benchmark that all runs were evaluated on",
                found=", ".join(side.evaluations),
                mend=where.evaluating("--benchmarks", benchmark.id),
            )
        own = {seed: entries[0] for seed, entries in found.items()}
        if shown:  # the same images, labels and protocol, or an error that says what differs
            first = {seed: [e] for seed, e in shown[0].items()}
            own = matching(first, found)[1]
        shown.append(own)
    return shown


def _draw_groups(request: FiguresRequest, shown: Sequence[Shown], benchmark: Benchmark, device: str) -> list[Path]:
    sides, firsts = [[e.counts for e in s.values()] for s in shown], [next(iter(s.values())) for s in shown]
    if request.images:
        groups = {"images": list(request.images)}
    else:
        groups = {kind: keys for kind, keys in chosen_images(sides[0], sides[1], request.count).items() if keys}
    keys = list(dict.fromkeys(k for own in groups.values() for k in own))
    examples = _examples(request, firsts, benchmark, keys, device)
    names, colours = measured.class_titles(benchmark), benchmark_colours(benchmark)
    written = []
    for kind, own in groups.items():
        heading = WORDS.get(kind, "images by name").format(*next(iter(examples.values())).predictions)
        ids = " ".join(e.run for e in firsts)
        caption = f"{benchmark.id} | {heading} | {len(firsts[0].counts)} images | {ids}"
        figure = comparison_figure([examples[key] for key in own], names, colours, caption)
        for form in FORMS:
            path = request.out / f"{benchmark.id}_{kind}.{form}"
            write_atomic(path, partial(figure.savefig, format=form, **FORMS[form]))
            log(f"wrote {path}")
            written.append(path)
    return written


def _examples(
    request: FiguresRequest, firsts: Sequence[Evaluation], benchmark: Benchmark, keys: Sequence[str], device: str
) -> dict[str, Example]:
    """Return for each image its pixels and label, and by heading of each run the prediction and its mIoU."""
    pictures: dict[str, tuple[NDArray[np.uint8], NDArray[Any]]] = {}
    predictions: dict[str, dict[str, NDArray[Any]]] = {}
    scores: dict[str, dict[str, float]] = {}
    for first in firsts:
        run = stored_run(first.run, request.runs, request.data_root)
        method = measured.load_trained(run, first.run, device)
        pairs = layout.prepared_pairs(benchmark, run.assets.ensure_set(benchmark, log))
        pairs = measured.choose_pairs(pairs, keys, len(keys))
        pictures = pictures or {p.key: (stored_image(p.image), read_label(p.label)) for p in pairs}
        log(f"predicting {len(pairs)} images with {first.run}")
        title = first.title or run.row.title
        title = title if title not in predictions else f"{title}, {first.run.rsplit('-', 1)[-1][:6]}"
        predictions[title] = {
            p.key: measured.predict_classes(run, method, benchmark, pictures[p.key][0]) for p in pairs
        }
        scores[title] = dict(zip(first.counts.keys, image_miou(first.counts).tolist(), strict=True))
    return {
        key: Example(
            key,
            *pictures[key],
            {title: own[key] for title, own in predictions.items()},
            {title: own.get(key, float("nan")) for title, own in scores.items()},
        )
        for key in keys
    }
