"""Reading every prepared image and label once, and saying what is wrong and how to mend it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.datasets.benchmarks import Benchmark, Split, get_benchmark
from repro.datasets.layout import prepare_command, some, source_pairs
from repro.datasets.listing import SourcePair
from repro.datasets.parallel import parallel
from repro.datasets.prepare.marker import Marker, read_marker
from repro.datasets.prepare.origin import (
    Origin,
    changes,
    labelled,
    nothing_labelled,
    outdated,
    read_origin,
)
from repro.datasets.verify.fingerprint import fingerprint
from repro.datasets.verify.report import Problem, VerifyReport
from repro.datasets.verify.survey import Survey, survey
from repro.errors import DataError, command
from repro.hashing import digest


@dataclasses.dataclass(frozen=True)
class _Item:
    benchmark: str
    label: Path
    image: Path | None
    source: SourcePair | None
    """What the label must be made from; None where it is not compared."""
    command: str
    """What prepares the split."""
    again: str
    """What makes all labels of the split again, "" where others made this one."""

    @property
    def remake(self) -> str:
        return self.again or f"move {command(self.label)} elsewhere, then {self.command}"


@dataclasses.dataclass(frozen=True)
class _Look:
    size: tuple[int, int] | None
    pixels: dict[int, int]
    label_type: str
    problems: tuple[Problem, ...]


def verify(
    benchmark_id: str,
    data_root: Path,
    expected_count: int | None = None,
    jobs: int = 1,
    split: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    against_sources: bool = False,
) -> VerifyReport:
    """Check a prepared split: counts, missing and stray files, sizes, types, label values, damage, changes since.

    ``expected_count`` replaces the published number of images (for samples and generated data). With
    ``against_sources`` every label is made again from its annotation, in memory, and must equal it in every pixel.
    Nothing is raised for what is wrong with the data: it is all in the report.
    """
    benchmark = get_benchmark(benchmark_id)
    part = benchmark.split(split)
    expected = part.num_images if expected_count is None else expected_count
    folder = data_root / benchmark.folder / part.labels
    prepares, again = (prepare_command(benchmark, data_root, part, again=a) for a in (False, True))
    problems: list[Problem] = []
    marker = None
    try:
        marker = read_marker(folder)
    except DataError as error:
        problems.append(_problem("preparation", error))
    origin = read_origin(folder, marker)
    faults: list[DataError] = []
    found = survey(benchmark, data_root, part, marker, faults)
    problems += [_problem("preparation", error) for error in faults]
    if found.labels or not faults:  # else it is the list that must be mended first
        problems += _preparation_problems(benchmark, data_root, part, marker, found)
    if (changed := changes(benchmark, data_root, part, origin)) is not None and changed.outdated:
        problems.append(_problem("preparation", outdated(benchmark, data_root, part, changed)))
    problems += _file_problems(benchmark, data_root, part, found, expected, origin)
    sources = {}
    if (against_sources or origin is None) and found.labels:
        try:
            sources = {s.key: s for s in source_pairs(benchmark, data_root, part.name)}
        except DataError as error:  # of labels without a note the report says that they are not compared
            problems += [_problem("pixels", error)] if against_sources else []
    own = found.labels.keys() - set(marker.adopted) if marker is not None else set()
    items = [
        _Item(benchmark.id, label, found.images.get(key), sources.get(key), prepares, again if key in own else "")
        for key, label in sorted(found.labels.items())
    ]
    sizes, types, pixels, having = [], set(), Counter[int](), Counter[int]()
    for count, look in enumerate(parallel(_look, items, jobs), start=1):
        problems.extend(look.problems)
        pixels.update(look.pixels)
        having.update(look.pixels.keys())
        if look.size is not None:
            sizes.append(look.size)
            types.add(look.label_type)
        if progress:
            progress(count, len(items))
    histogram = {str(value): pixels[value] for value in sorted(pixels)}
    complete = not any(p.kind in ("preparation", "missing", "orphan", "label") for p in problems)
    if marker is not None and complete and histogram != marker.histogram:
        problems.append(
            Problem(
                "histogram",
                f"the labels changed since they were prepared ({digest(marker.histogram)} -> {digest(histogram)})",
                f"move {command(folder)} elsewhere, then {prepares}" if marker.adopted else again,
            )
        )
    if histogram and not labelled(benchmark, histogram):
        problems.append(_problem("label", nothing_labelled(benchmark, data_root, part, len(items))))
    try:
        benchmark.check_classes(data_root, part, having, len(sizes), again if marker is not None else prepares)
    except DataError as error:
        problems.append(_problem("histogram", error))
    total = sum(pixels.values())
    ignored = sum(n for value, n in pixels.items() if value >= benchmark.ignore_label)
    return VerifyReport(
        benchmark=benchmark.id,
        split=part.name,
        folder=str(folder),
        prepared_by="" if not found.labels else "other scripts" if marker is None else "repro",
        images=found.size - len(found.missing),
        expected_images=expected,
        labels=len(found.labels),
        dropped=len(found.dropped),
        label_type=", ".join(sorted(types)),
        smallest=min(sizes, key=lambda s: s[0] * s[1], default=None),
        largest=max(sizes, key=lambda s: s[0] * s[1], default=None),
        classes_present=sum(1 for value in pixels if value < benchmark.num_classes),
        num_classes=benchmark.num_classes,
        ignored_share=ignored / total if total else 0.0,
        pixels=histogram,
        histogram=digest(histogram) if histogram else "",
        fingerprint=_fingerprint(benchmark, data_root, part),
        compared=bool(items) and all(item.source is not None for item in items),
        origin="others" if marker is None else "known" if origin is not None else "unknown",
        problems=tuple(problems),
    )


def _preparation_problems(
    benchmark: Benchmark, data_root: Path, part: Split, marker: Marker | None, found: Survey
) -> list[Problem]:
    folder, prepares = data_root / benchmark.folder, prepare_command(benchmark, data_root, part)
    if not folder.is_dir():
        return [Problem("preparation", f"{folder} is absent", benchmark.instructions)]
    if not found.labels:
        there = "nothing is prepared" if found.listed else "neither labels nor the sources to make them from are there"
        mend = prepares if found.listed else f"{benchmark.instructions}; then {prepares}"
        return [Problem("preparation", f"{there}: no *{benchmark.label_suffix} in {folder / part.labels}", mend)]
    if marker is None:
        return []
    if not marker.complete:
        text = f"the preparation was interrupted: {len(found.labels)} of {marker.keys} labels in {folder / part.labels}"
        return [Problem("preparation", text, prepares)]
    if not marker.made_by_rules_of(benchmark):
        return [Problem("preparation", "prepared by rules that make other labels", prepares)]
    return []


def _file_problems(
    benchmark: Benchmark, data_root: Path, part: Split, found: Survey, expected: int, origin: Origin | None
) -> list[Problem]:
    """Return what the names alone tell: too few or too many, missing, stray."""
    if not found.labels:
        return []
    folder, prepares = data_root / benchmark.folder, prepare_command(benchmark, data_root, part)
    again = prepare_command(benchmark, data_root, part, again=True)
    problems = []

    def add(kind: str, paths: list[Path], what: str, mend: str) -> None:
        if paths:
            files = tuple(map(str, paths))
            problems.append(Problem(kind, f"{what} ({len(files)}): {some([p.name for p in paths])}", mend, files))

    def label(key: str) -> Path:
        return folder / part.labels / f"{key}{benchmark.label_suffix}"

    images = found.size
    if images != expected:
        listing = folder / (part.ids or part.source_images)
        direction = f"complete the sources of {benchmark.id}" if images < expected else "take out what is not"
        direction += "" if images < expected else f" of {benchmark.id} from {command(listing)}"
        problems.append(
            Problem(
                "count",
                f"{images:,} images where the set has {expected:,}: figures from them are no benchmark results",
                f"{direction}, then {prepares if images < expected else again}; "
                f"or, for a sample, {command('--expected-count', images)}",
            )
        )
    add("missing", [label(k) for k in found.missing], "listed images without a label", prepares)
    add(
        "missing",
        [folder / part.images / f"{k}{benchmark.image_suffix}" for k in found.imageless],
        f"labels without an image in {folder / part.images}",
        again if benchmark.resized_images else benchmark.instructions,
    )
    away = f"move them out of {command(folder / part.labels)}"
    known = set() if origin is None else origin.entries.keys()
    ours = [k for k in found.orphans if k in known]
    add("orphan", [label(k) for k in ours], "labels of images that are no longer listed", again)
    others = [k for k in found.orphans if k not in known]
    add("orphan", [label(k) for k in others], "labels of no listed image", f"{away}, or restore the list")
    add("orphan", list(found.strangers), f"files that are no *{benchmark.label_suffix}", away)
    return problems


def _fingerprint(benchmark: Benchmark, data_root: Path, part: Split) -> str:
    try:
        return fingerprint(benchmark.id, data_root, part.name)
    except DataError:
        return ""  # incomplete: the problems say why


def _look(item: _Item) -> _Look:
    """Read one image and its label in full."""
    from repro.datasets.images import check_label, read_label, stored_image
    from repro.datasets.prepare.formats import present

    benchmark = get_benchmark(item.benchmark)
    problems: list[Problem] = []
    shape: tuple[int, ...] | None = None
    try:
        if item.image is not None:
            shape = stored_image(item.image, item.remake).shape[:2]
    except DataError as error:
        problems.append(_problem("image", error, path=item.image))
    try:
        label = read_label(item.label)
        if str(label.dtype) != benchmark.label_dtype:
            found = str(label.dtype)
            raise DataError(f"label {item.label} has the wrong type", expected=benchmark.label_dtype, found=found)
        pixels = check_label(label, benchmark, item.label, shape)
    except DataError as error:
        problems.append(_problem("label", error, item.remake, item.label))
        return _Look(None, {}, "", tuple(problems))
    if item.source is not None:
        problems += _compare(benchmark, item, label)
    return _Look((label.shape[0], label.shape[1]), present(pixels), str(label.dtype), tuple(problems))


def _compare(benchmark: Benchmark, item: _Item, label: Any) -> list[Problem]:
    """Set a label against what the rules make of its source."""
    from repro.datasets.prepare.comparing import label_difference

    assert item.source is not None
    try:
        text = label_difference(benchmark, item.source, item.label, label, item.command)
    except DataError as error:
        return [_problem("pixels", error, path=item.label)]
    return [Problem("pixels", text, item.remake, (str(item.label),))] if text else []


def _problem(kind: str, error: DataError, mend: str = "", path: Path | None = None) -> Problem:
    """Return ``error`` as a problem; ``mend`` replaces its own."""
    details = [f"{word} {value}" for word, value in (("expected", error.expected), ("found", error.found)) if value]
    files = () if path is None else (str(path),)
    return Problem(kind, "; ".join([error.message, *details]), mend or error.mend or "", files)
