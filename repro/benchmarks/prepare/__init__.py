"""Converting the annotations of a set, as its owners distribute them, to the labels that are evaluated.

Parallel over images, resumable (whole labels are kept, damaged ones made again), atomic per file; a note beside the
label folder says when it is complete (:mod:`repro.benchmarks.marker`).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from repro.benchmarks.layout import prepare_command, prepared_pairs, some, source_pairs
from repro.benchmarks.listing import check_targets
from repro.benchmarks.marker import Marker, read_marker, rules_digest, write_marker
from repro.benchmarks.parallel import parallel
from repro.benchmarks.spec import Benchmark, get_benchmark
from repro.errors import DataError

if TYPE_CHECKING:
    from repro.benchmarks.prepare.formats import Outcome, Task

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


@dataclasses.dataclass(frozen=True)
class PrepareSummary:
    """What a preparation did. ``kept`` labels were there already and were found whole; ``dropped`` have no class."""

    benchmark: str
    split: str
    folder: Path
    images: int
    converted: int
    kept: int
    dropped: int
    expected_images: int

    def __str__(self) -> str:
        note = "" if self.images == self.expected_images else f" (the published set has {self.expected_images})"
        return (
            f"{self.benchmark}: {self.images} images{note}: {self.converted} labels converted, {self.kept} were there, "
            f"{self.dropped} images without a labelled pixel dropped; {self.folder}"
        )


def prepare(
    benchmark_id: str, data_root: Path, jobs: int = 1, progress: Progress | None = None, split: str | None = None
) -> PrepareSummary:
    """Convert the labels of a split (default: the set's own) below ``data_root`` with ``jobs`` processes.

    Labels already there (of an interrupted preparation or of the official scripts) are read, checked and kept; a set
    whose note says complete is not read again. Raises DataError for absent, damaged or inconsistent sources: what was
    converted before stays, and the same command goes on from there.
    """
    benchmark = get_benchmark(benchmark_id)
    part = benchmark.split(split)
    folder = data_root / benchmark.folder / part.labels
    marker = read_marker(folder)
    done = _already(benchmark, data_root, part.name, marker)
    if done is not None:
        return done
    try:
        sources = source_pairs(benchmark, data_root, part.name)
    except DataError:
        if marker is None and (adopted := _without_sources(benchmark, data_root, part.name)) is not None:
            return adopted
        raise
    from repro.benchmarks.prepare.formats import Task

    images = data_root / benchmark.folder / part.images
    keep = marker is None or marker.made_by_rules_of(benchmark)
    command = prepare_command(benchmark, data_root, part)
    check_targets(data_root / benchmark.folder, [folder, images] if benchmark.resized_images else [folder], command)
    tasks = [
        Task(
            benchmark.id,
            source,
            folder / f"{source.key}{benchmark.label_suffix}",
            images / f"{source.key}.jpg" if benchmark.resized_images else None,
            keep,
            command,
        )
        for source in sources
    ]
    _refuse_strangers(folder, benchmark, {t.source.key for t in tasks})
    rules = rules_digest(benchmark)
    write_marker(folder, Marker(benchmark.id, complete=False, keys=len(tasks), rules=rules))
    states: Counter[str] = Counter()
    pixels: Counter[int] = Counter()
    dropped = []
    for count, outcome in enumerate(_outcomes(tasks, jobs), start=1):
        states[outcome.state] += 1
        pixels.update(outcome.pixels)
        if outcome.state == "dropped":
            dropped.append(outcome.key)
        if progress:
            progress(count, len(tasks))
    histogram = {str(value): pixels[value] for value in sorted(pixels)}
    write_marker(folder, Marker(benchmark.id, True, len(tasks), tuple(sorted(dropped)), histogram, rules))
    return PrepareSummary(
        benchmark.id,
        part.name,
        folder,
        len(tasks),
        states["converted"],
        states["kept"],
        states["dropped"],
        part.num_images,
    )


def _already(benchmark: Benchmark, data_root: Path, split: str, marker: Marker | None) -> PrepareSummary | None:
    """The summary of a finished preparation; None where there is still something to do."""
    if marker is None or not marker.complete:
        return None
    try:
        pairs = prepared_pairs(benchmark, data_root, split)
    except DataError:
        return None
    part = benchmark.split(split)
    if marker.keys != part.num_images:
        # A sample or a partial download may have grown since; a complete set cannot.
        try:
            if len(source_pairs(benchmark, data_root, split)) != marker.keys:
                return None
        except DataError:
            pass  # the sources were removed after the preparation
    folder = data_root / benchmark.folder / part.labels
    return PrepareSummary(benchmark.id, split, folder, marker.keys, 0, len(pairs), len(marker.dropped), part.num_images)


def _outcomes(tasks: list[Task], jobs: int) -> Iterator[Outcome]:
    from repro.benchmarks.prepare.formats import perform

    yield from parallel(perform, tasks, jobs)


def _without_sources(benchmark: Benchmark, data_root: Path, split: str) -> PrepareSummary | None:
    """Labels of the official scripts whose sources were removed since: taken as they are where they are complete."""
    try:
        pairs = prepared_pairs(benchmark, data_root, split)
    except DataError:
        return None
    part = benchmark.split(split)
    folder = data_root / benchmark.folder / part.labels
    return PrepareSummary(benchmark.id, split, folder, len(pairs), 0, len(pairs), 0, part.num_images)


def _refuse_strangers(folder: Path, benchmark: Benchmark, keys: set[str]) -> None:
    """Labels that belong to no listed image would be evaluated too; they are the user's, so they are not removed."""
    labels = {path.name[: -len(benchmark.label_suffix)] for path in folder.glob(f"[!.]*{benchmark.label_suffix}")}
    strangers = sorted(labels - keys)
    if strangers:
        raise DataError(
            f"{benchmark.id}: {folder} holds labels that belong to no image of the split",
            expected=f"labels of the {len(keys)} images the source lists",
            found=f"{len(strangers)} others: {some(strangers)}",
            mend=f"move those out of {folder}, or restore their sources",
        )
