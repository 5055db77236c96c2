"""Reading every prepared image and label once, and saying what is wrong and how to mend it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.benchmarks.fingerprint import fingerprint
from repro.benchmarks.layout import Pair, prepare_command, prepared_pairs
from repro.benchmarks.marker import read_marker
from repro.benchmarks.parallel import parallel
from repro.benchmarks.spec import Benchmark, get_benchmark
from repro.errors import DataError
from repro.hashing import digest

SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong. ``kind`` is one of: preparation, count, image, label, histogram."""

    kind: str
    message: str
    mend: str


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """What was found in a set. ``pixels`` counts label values over all images, as text keys for JSON.

    ``histogram`` is a digest of them (two people with the same data see the same), ``fingerprint`` of file names and
    sizes; both are "" where the set is not prepared.
    """

    benchmark: str
    split: str
    images: int
    expected_images: int
    label_type: str
    smallest: tuple[int, int] | None
    largest: tuple[int, int] | None
    classes_present: int
    num_classes: int
    ignored_share: float
    pixels: dict[str, int]
    histogram: str
    fingerprint: str
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain data for a report file."""
        return {"ok": self.ok, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        lines = [
            f"{self.benchmark} ({self.split}): {'sound' if self.ok else f'{len(self.problems)} problems'}; "
            f"{self.images} of {self.expected_images} images"
        ]
        if self.smallest and self.largest:
            low, high = self.smallest, self.largest
            lines.append(
                f"  labels {self.label_type}, {low[0]}x{low[1]} to {high[0]}x{high[1]}, "
                f"{self.classes_present} of {self.num_classes} classes, {self.ignored_share:.1%} of pixels ignored"
            )
            lines.append(f"  histogram {self.histogram}, files {self.fingerprint}")
        for problem in self.problems[:SHOWN]:
            lines.append(f"  {problem.kind}: {problem.message}")
            lines.append(f"    mend: {problem.mend}")
        if len(self.problems) > SHOWN:
            lines.append(f"  and {len(self.problems) - SHOWN} more problems")
        return "\n".join(lines)


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
) -> VerifyReport:
    """Check a prepared split: counts, image and label sizes, types, label values, damaged files, changes since.

    ``expected_count`` replaces the published number of images (for samples and generated data). Nothing is raised for
    what is wrong with the data: it is all in the report.
    """
    benchmark = get_benchmark(benchmark_id)
    part = benchmark.split(split)
    expected = part.num_images if expected_count is None else expected_count
    command = prepare_command(benchmark, data_root, part)
    problems: list[Problem] = []
    pairs: list[Pair] = []
    marker = None
    try:
        marker = read_marker(data_root / benchmark.folder / part.labels)
        pairs = prepared_pairs(benchmark, data_root, part.name)
    except DataError as error:
        problems.append(_problem("preparation", error, command))
    dropped = len(marker.dropped) if marker else 0
    if pairs and len(pairs) + dropped != expected:
        problems.append(
            Problem(
                "count",
                f"{len(pairs) + dropped} images where {expected} are expected; figures from them are not comparable",
                f"complete the sources of {benchmark.id}, then {command}",
            )
        )
    sizes, types, pixels = [], set(), Counter[int]()
    looks = parallel(_look, [(benchmark.id, pair) for pair in pairs], jobs)
    for count, look in enumerate(looks, start=1):
        problems.extend(look.problems)
        pixels.update(look.pixels)
        if look.size is not None:
            sizes.append(look.size)
            types.add(look.label_type)
        if progress:
            progress(count, len(pairs))
    histogram = {str(value): pixels[value] for value in sorted(pixels)}
    unread = any(p.kind in ("preparation", "label") for p in problems)
    if marker is not None and not unread and histogram != marker.histogram:
        problems.append(
            Problem(
                "histogram",
                f"the labels changed since they were prepared ({digest(marker.histogram)} -> {digest(histogram)})",
                f"rm -r {data_root / benchmark.folder / part.labels} && {command}",
            )
        )
    total = sum(pixels.values())
    ignored = sum(n for value, n in pixels.items() if value >= benchmark.ignore_label)
    return VerifyReport(
        benchmark=benchmark.id,
        split=part.name,
        images=len(pairs) + dropped,
        expected_images=expected,
        label_type=", ".join(sorted(types)),
        smallest=min(sizes, key=lambda s: s[0] * s[1], default=None),
        largest=max(sizes, key=lambda s: s[0] * s[1], default=None),
        classes_present=sum(1 for value in pixels if value < benchmark.num_classes),
        num_classes=benchmark.num_classes,
        ignored_share=ignored / total if total else 0.0,
        pixels=histogram,
        histogram=digest(histogram) if pairs else "",
        fingerprint=fingerprint(benchmark.id, data_root, part.name) if pairs else "",
        problems=tuple(problems),
    )


def _look(item: tuple[str, Pair]) -> _Look:
    """Read one image and its label in full."""
    import numpy as np

    from repro.benchmarks.images import check_label, read_image, read_label

    benchmark, pair = get_benchmark(item[0]), item[1]
    problems: list[Problem] = []
    shape: tuple[int, ...] | None = None
    try:
        shape = read_image(pair.image).shape[:2]
    except DataError as error:
        problems.append(_problem("image", error, f"fetch {pair.image.name} again from its source"))
    try:
        label = read_label(pair.label)
        if str(label.dtype) != benchmark.label_dtype:
            raise _wrong_type(benchmark, pair.label, str(label.dtype))
        pixels = check_label(label, benchmark, pair.label, shape)
    except DataError as error:
        problems.append(_problem("label", error, f"rm {pair.label} and prepare again"))
        return _Look(None, {}, "", tuple(problems))
    present = {int(v): int(pixels[v]) for v in np.flatnonzero(pixels)}
    return _Look((label.shape[0], label.shape[1]), present, str(label.dtype), tuple(problems))


def _wrong_type(benchmark: Benchmark, path: Path, found: str) -> DataError:
    return DataError(
        f"label {path} has the wrong type",
        expected=benchmark.label_dtype,
        found=found,
        mend=f"rm {path} && repro data prepare {benchmark.id} --data-root <root>",
    )


def _problem(kind: str, error: DataError, mend: str) -> Problem:
    details = [f"{word} {value}" for word, value in (("expected", error.expected), ("found", error.found)) if value]
    return Problem(kind, "; ".join([error.message, *details]), error.mend or mend)
