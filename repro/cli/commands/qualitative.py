"""``repro figures qualitative``: predictions of several runs side by side, on images chosen by their counts."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.cli import common
from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.errors import ResourceError, UsageError
from repro.runs.evaluations import Evaluation, Where, find_side, matching

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from repro.reports.figures.qualitative import Example


@dataclasses.dataclass(frozen=True)
class Shown:
    """One run in the figure: its heading, and its evaluations by seed (the first is the one that is drawn)."""

    title: str
    evaluations: dict[int, Evaluation]

    @property
    def first(self) -> Evaluation:
        return next(iter(self.evaluations.values()))


def qualitative(options: argparse.Namespace) -> int:
    """Draw wins, losses and failures of the first run against the second; the rest is drawn beside them."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ResourceError(
            "figures need matplotlib", mend="pip install 'repro-ovseg[train]' -c constraints.txt"
        ) from error
    if not options.run or len(options.run) < 2:
        raise UsageError(
            "a qualitative comparison needs two runs",
            expected="--run A,B: run ids, unique prefixes of them, or table:row",
            found=", ".join(options.run or []) or "none",
            mend="repro figures qualitative --run table1:ROW,table1:ROW --benchmark PC-59 --out DIR",
        )
    benchmark = get_benchmark(options.benchmark)
    shown = _shown(options, benchmark)
    with common.stdout_to_stderr():
        written = _draw(shown, benchmark, common.choose_device(options.device), options)
    if options.json:
        common.print_json([str(path) for path in written])
    else:
        print("\n".join(map(str, written)))
    return 0


def _shown(options: argparse.Namespace, benchmark: Benchmark) -> list[Shown]:
    where = Where(options.runs, options.profile, options.data_root)
    shown: list[Shown] = []
    for name in options.run:
        found = find_side(name, where).evaluations.get(benchmark.id)
        if not found:
            raise UsageError(
                f"{name} is not evaluated on {benchmark.id}",
                expected="a benchmark that all runs were evaluated on",
                found=", ".join(find_side(name, where).evaluations),
                mend=where.evaluating("--benchmarks", benchmark.id),
            )
        own = {seed: entries[0] for seed, entries in found.items()}
        if shown:  # the same images, labels and protocol, or an error that says what differs
            first = {seed: [e] for seed, e in shown[0].evaluations.items()}
            own = matching(first, found)[1]
        shown.append(Shown(name, own))
    return shown


def _draw(shown: Sequence[Shown], benchmark: Benchmark, device: str, options: argparse.Namespace) -> list[Path]:
    from repro.measuring.figures import class_titles
    from repro.reports.figures.qualitative import benchmark_colours, chosen_images, comparison_figure, image_miou

    sides = [[e.counts for e in s.evaluations.values()] for s in shown]
    if options.images:
        groups = {"images": list(options.images)}
    else:
        groups = {kind: keys for kind, keys in chosen_images(sides[0], sides[1], options.count).items() if keys}
    keys = list(dict.fromkeys(k for own in groups.values() for k in own))
    titles, predictions, pictures = _predicted(shown, benchmark, keys, device, options)
    scores = [dict(zip(s.first.counts.keys, image_miou(s.first.counts).tolist(), strict=True)) for s in shown]
    names, colours = class_titles(benchmark), benchmark_colours(benchmark)
    written = []
    for kind, own in groups.items():
        examples = [_example(key, titles, predictions, scores, pictures[key]) for key in own]
        caption = (
            f"{benchmark.id} | {_heading(kind, titles)} | {len(shown[0].first.counts)} images | "
            f"{' '.join(s.first.run for s in shown)}"
        )
        figure = comparison_figure(examples, names, colours, caption)
        for form in ("pdf", "png"):
            path = options.out / f"{benchmark.id}_{kind}.{form}"
            _save(figure, path, form)
            common.log(f"wrote {path}")
            written.append(path)
    return written


def _heading(kind: str, titles: Sequence[str]) -> str:
    a, b = titles[0], titles[1]
    words = {
        "wins": f"largest gains of {a} on {b} in mIoU of an image",
        "losses": f"largest losses of {a} to {b} in mIoU of an image",
        "failures": f"images on which both {a} and {b} are worst",
    }
    return words.get(kind, "images by name")


def _predicted(
    shown: Sequence[Shown], benchmark: Benchmark, keys: Sequence[str], device: str, options: argparse.Namespace
) -> tuple[list[str], list[dict[str, NDArray[Any]]], dict[str, tuple[NDArray[np.uint8], NDArray[Any]]]]:
    """Headings, of each run the predictions by image, and the images with their labels."""
    from repro.datasets.images import read_label, stored_image
    from repro.datasets.layout import prepared_pairs
    from repro.measuring.figures import choose_pairs, load_trained, predict_classes
    from repro.runs.addresses.stored import stored_run

    titles: list[str] = []
    predictions: list[dict[str, NDArray[Any]]] = []
    pictures: dict[str, tuple[NDArray[np.uint8], NDArray[Any]]] = {}
    for one in shown:
        run = stored_run(one.first.run, options.runs, options.data_root)
        method = load_trained(run, one.first.run, device)
        pairs = choose_pairs(prepared_pairs(benchmark, run.assets.ensure_set(benchmark, common.log)), keys, len(keys))
        pictures = pictures or {p.key: (stored_image(p.image), read_label(p.label)) for p in pairs}
        common.log(f"predicting {len(pairs)} images with {one.first.run}")
        predictions.append({p.key: predict_classes(run, method, benchmark, pictures[p.key][0]) for p in pairs})
        title = run.row.title
        titles.append(title if title not in titles else f"{title}, {one.first.run.rsplit('-', 1)[-1][:6]}")
    return titles, predictions, pictures


def _example(
    key: str,
    titles: Sequence[str],
    predictions: Sequence[dict[str, NDArray[Any]]],
    scores: Sequence[dict[str, float]],
    picture: tuple[NDArray[np.uint8], NDArray[Any]],
) -> Example:
    from repro.reports.figures.qualitative import Example

    own = {title: p[key] for title, p in zip(titles, predictions, strict=True)}
    return Example(key, *picture, own, {t: s.get(key, float("nan")) for t, s in zip(titles, scores, strict=True)})


def _save(figure: Any, path: Path, form: str) -> None:
    from repro.files import write_atomic

    options: dict[str, Any] = {"dpi": 200} if form == "png" else {"dpi": 300, "metadata": {"CreationDate": None}}

    def write(stream: Any) -> None:
        figure.savefig(stream, format=form, **options)

    write_atomic(path, write)
