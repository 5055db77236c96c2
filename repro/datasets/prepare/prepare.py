"""Converting the annotations of a set, as its owners distribute them, to the labels that are evaluated.

Parallel over images, resumable (whole labels are kept, damaged ones made again), atomic per file; a note beside the
label folder says when it is complete (:mod:`repro.datasets.prepare.marker`) and another what it was made of
(:mod:`repro.datasets.prepare.origin`). Labels that others made are compared with the rule and never removed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from repro.datasets.benchmarks import Benchmark, Split, get_benchmark
from repro.datasets.layout import files_by_key, prepare_command, prepared_pairs, source_pairs
from repro.datasets.listing import SourcePair, check_targets
from repro.datasets.parallel import parallel
from repro.datasets.prepare import origin as origins
from repro.datasets.prepare.before import can_be_made, refuse_others, refuse_strangers
from repro.datasets.prepare.marker import Marker, read_marker, rules_digest, write_marker
from repro.errors import DataError, command

if TYPE_CHECKING:
    from repro.datasets.prepare.formats import Outcome, Task

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

OURS, EQUAL, UNCOMPARED = "repro", "others, every label equals its source", "others, not compared"
"""Who made the labels (:attr:`PrepareSummary.made_by`)."""


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
    made_by: str = OURS

    def __str__(self) -> str:
        note = "" if self.images == self.expected_images else f" (the published set has {self.expected_images})"
        made = "" if self.made_by == OURS else f" (made by {self.made_by})"
        return (
            f"{self.benchmark}: {self.images} images{note}: {self.converted} labels converted, {self.kept} were there"
            f"{made}, {self.dropped} images without a labelled pixel dropped; {self.folder}"
        )


def prepare(
    benchmark_id: str,
    data_root: Path,
    jobs: int = 1,
    progress: Progress | None = None,
    split: str | None = None,
    *,
    again: bool = False,
) -> PrepareSummary:
    """Convert the labels of a split (default: the set's own) below ``data_root`` with ``jobs`` processes.

    Labels of an interrupted preparation are kept where they are whole; a set whose note says complete is not read again
    while its sources are the same. Labels without a note are compared with what the rule makes of their sources; those
    whose note does not say what they were made of (version 0.1.0) are made again where they can be. With ``again``
    everything that was made here is made anew. Raises DataError for absent, damaged or inconsistent sources (what was
    converted before stays, and the same command goes on from there), for labels made from other sources, and for labels
    of others that differ from the rule.
    """
    benchmark = get_benchmark(benchmark_id)
    part = benchmark.split(split)
    folder = data_root / benchmark.folder / part.labels
    marker = read_marker(folder)
    origin = origins.read_origin(folder, marker)
    changed = origins.changes(benchmark, data_root, part, origin)
    if again:
        refuse_others(benchmark, data_root, part, marker)
    elif marker is not None and marker.complete and (origin is not None or not can_be_made(benchmark, data_root, part)):
        there = files_by_key(folder, benchmark.label_suffix)
        if changed is not None and not there.keys().isdisjoint((*changed.gone, *changed.other)):
            raise origins.outdated(benchmark, data_root, part, changed)
        if (done := _already(benchmark, data_root, part.name, marker, known=origin is not None)) is not None:
            return done
    try:
        sources = source_pairs(benchmark, data_root, part.name)
    except DataError:
        if marker is None and (adopted := _without_sources(benchmark, data_root, part.name)) is not None:
            return adopted
        raise
    work = _Work(benchmark, data_root, part, marker, sources, jobs, progress)
    redo = set() if changed is None else set(changed.other)
    if again or (marker is not None and not (marker.made_by_rules_of(benchmark) and origin is not None)):
        redo = set(work.keys)
    return work.run(origin, redo)


def compare_others(
    benchmark_id: str, data_root: Path, split: str | None = None, progress: Progress | None = None, jobs: int = 1
) -> None:
    """Set every label of a split against what the rule makes of its source; DataError where some differ.

    For labels that do not remember their sources: those of others, and those of version 0.1.0.
    """
    benchmark = get_benchmark(benchmark_id)
    sources = source_pairs(benchmark, data_root, split)
    work = _Work(benchmark, data_root, benchmark.split(split), None, sources, jobs, progress)
    for count, _ in enumerate(work.compared(), start=1):
        work.show(count)


class _Work:
    """The labels of one split that are still to be compared or made."""

    def __init__(
        self,
        benchmark: Benchmark,
        data_root: Path,
        part: Split,
        marker: Marker | None,
        sources: list[SourcePair],
        jobs: int,
        progress: Progress | None,
    ) -> None:
        self.benchmark, self.data_root, self.part, self.sources = benchmark, data_root, part, sources
        self.jobs, self.progress = jobs, progress
        self.folder = data_root / benchmark.folder / part.labels
        self.keys = {source.key for source in sources}
        self.there = files_by_key(self.folder, benchmark.label_suffix)
        self.adopted = set(self.there) if marker is None else set(marker.adopted)
        self.others = self.adopted & self.there.keys() & self.keys
        self.adopting = bool(marker and marker.adopted)

    def run(self, origin: origins.Origin | None, redo: set[str]) -> PrepareSummary:
        """Compare what others made, make the rest, and write the notes."""
        benchmark, part, folder = self.benchmark, self.part, self.folder
        home, images = self.data_root / benchmark.folder, self.data_root / benchmark.folder / part.images
        targets = [folder, images] if benchmark.resized_images else [folder]
        check_targets(home, targets, prepare_command(benchmark, self.data_root, part))
        if origin is not None:  # labels made here of images that are no longer listed
            for key in (origin.entries.keys() - self.keys - self.adopted) & self.there.keys():
                self.there[key].unlink(missing_ok=True)
        refuse_strangers(folder, benchmark, self.keys)
        states: Counter[str] = Counter()
        pixels: Counter[int] = Counter()
        having: Counter[int] = Counter()  # images of each label value
        dropped = []

        def count(outcomes: Iterator[Outcome]) -> None:
            for outcome in outcomes:
                states[outcome.state] += 1
                pixels.update(outcome.pixels)
                having.update(outcome.pixels.keys())
                dropped.extend([outcome.key] if outcome.state == "dropped" else [])
                self.show(states.total())

        count(self.compared())
        now = origins.take_origin(benchmark, self.sources, origin)
        note = Marker(
            benchmark.id,
            complete=False,
            keys=len(self.sources),
            rules=rules_digest(benchmark),
            origin=now.digest,
            adopted=tuple(sorted(self.others)),
        )
        origins.write_origin(folder, now)
        write_marker(folder, note)
        count(self._made(redo))
        histogram = {str(value): pixels[value] for value in sorted(pixels)}
        if not origins.labelled(benchmark, histogram):
            raise origins.nothing_labelled(benchmark, self.data_root, part, len(self.sources))
        again = prepare_command(benchmark, self.data_root, part, again=True)
        benchmark.check_classes(self.data_root, part, having, len(self.sources), again)
        note = dataclasses.replace(note, complete=True, dropped=tuple(sorted(dropped)), histogram=histogram)
        write_marker(folder, note)
        return PrepareSummary(
            benchmark.id,
            part.name,
            folder,
            len(self.sources),
            states["converted"],
            states["kept"],
            states["dropped"],
            part.num_images,
            EQUAL if self.others else OURS,
        )

    def show(self, count: int) -> None:
        """Report that ``count`` labels are done."""
        if self.progress:
            self.progress(count, len(self.sources))

    def _task(self, source: SourcePair, *, keep: bool) -> Task:
        from repro.datasets.prepare.formats import Task

        images = self.data_root / self.benchmark.folder / self.part.images
        return Task(
            self.benchmark.id,
            source,
            self.folder / f"{source.key}{self.benchmark.label_suffix}",
            images / f"{source.key}.jpg" if self.benchmark.resized_images else None,
            keep,
            prepare_command(self.benchmark, self.data_root, self.part),
        )

    def compared(self) -> Iterator[Outcome]:
        """Yield every label that others made; DataError where some are not what the rule makes."""
        from repro.datasets.prepare.comparing import compare

        tasks = [self._task(source, keep=True) for source in self.sources if source.key in self.others]
        found = []
        for compared in parallel(compare, tasks, self.jobs):
            if compared.difference:
                found.append(compared.difference)
            yield compared
        if found:
            ours = read_marker(self.folder) is not None and not self.adopting
            raise DataError(
                f"{self.benchmark.id}: {len(found)} of {len(tasks)} labels in {self.folder} "
                f"{'were made from unknown sources' if ours else 'were made by others'} and "
                "are not what the rule makes of their sources",
                expected="labels that equal the converted annotations in every pixel",
                found=found[0],
                mend=prepare_command(self.benchmark, self.data_root, self.part, again=True)
                if ours
                else f"move {command(self.folder)} elsewhere, then "
                f"{prepare_command(self.benchmark, self.data_root, self.part)}",
            )

    def _made(self, redo: set[str]) -> Iterator[Outcome]:
        from repro.datasets.prepare.comparing import make

        rest = [source for source in self.sources if source.key not in self.others]
        yield from parallel(make, [self._task(source, keep=source.key not in redo) for source in rest], self.jobs)


def _already(
    benchmark: Benchmark, data_root: Path, split: str, marker: Marker, *, known: bool
) -> PrepareSummary | None:
    """Return the summary of a finished preparation; None where there is still something to do."""
    try:
        pairs = prepared_pairs(benchmark, data_root, split)
    except DataError:
        return None
    part = benchmark.split(split)
    if not origins.labelled(benchmark, marker.histogram):
        return None
    if known or marker.keys != part.num_images:
        # A sample or a partial download may have grown since; of a complete set without origin it is not known.
        try:
            if len(source_pairs(benchmark, data_root, split)) != marker.keys:
                return None
        except DataError:
            pass  # the sources were removed after the preparation
    folder = data_root / benchmark.folder / part.labels
    made_by = EQUAL if marker.adopted else OURS
    return PrepareSummary(
        benchmark.id, split, folder, marker.keys, 0, len(pairs), len(marker.dropped), part.num_images, made_by
    )


def _without_sources(benchmark: Benchmark, data_root: Path, split: str) -> PrepareSummary | None:
    """Take labels of the official scripts whose sources were removed since, where they are complete."""
    try:
        pairs = prepared_pairs(benchmark, data_root, split)
    except DataError:
        return None
    part = benchmark.split(split)
    folder = data_root / benchmark.folder / part.labels
    return PrepareSummary(benchmark.id, split, folder, len(pairs), 0, len(pairs), 0, part.num_images, UNCOMPARED)
