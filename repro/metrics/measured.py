"""Where measures lie: ``<evaluation>/measures/<name>-<address>/``; ``measure.json`` in it means "done"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from repro.datasets.benchmarks import Benchmark
from repro.errors import RunError, check_known, command
from repro.files import read_json, write_json
from repro.hashing import digest
from repro.metrics.bias import BiasMeasure
from repro.metrics.boundary import BoundaryMeasure
from repro.metrics.counts import Counts
from repro.metrics.measure import Measure
from repro.metrics.size import SizeMeasure
from repro.metrics.trace import measure_digest

MEASURES: dict[str, type[Measure]] = {m.name: m for m in (BoundaryMeasure, BiasMeasure, SizeMeasure)}
"""By name; ``--measures`` switches them on."""
FROM_COUNTS = ("seen",)
"""What ``--measures`` shows too and nobody has to measure: it follows from the counts of an evaluation."""
DONE = "measure.json"
AS = "adopted.json"
"""In a folder of an earlier version that was taken over: the name it would have now, under ``as``."""


def check_measures(names: Sequence[str]) -> tuple[str, ...]:
    """Return ``names`` without repetition; UsageError for one that does not exist."""
    check_known("measure", names, (*MEASURES, *FROM_COUNTS), mend="--measures boundary,bias")
    return tuple(dict.fromkeys(names))


def counted_measures(names: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``names`` that need a pass over the images; raises as :func:`check_measures` does."""
    return tuple(name for name in check_measures(names) if name in MEASURES)


def measure_folder(evaluation: Path, name: str, benchmark: Benchmark) -> Path:
    """Return the folder of measure ``name`` of an evaluation; its address covers what decides its counts.

    Where a folder of another name stands for it (:data:`AS`), that one.
    """
    kind = MEASURES[name]
    folder = evaluation / "measures" / f"{name}-{digest([measure_digest(kind), kind.facts(benchmark)], 8)}"
    if not folder.is_dir():
        for note in sorted(evaluation.glob(f"measures/{name}-*/{AS}")):
            if read_json(note).get("as") == folder.name:
                return note.parent
    return folder


def read_measure(evaluation: Path, name: str, benchmark: Benchmark) -> dict[str, Any] | None:
    """Return what ``measure.json`` holds (``fingerprint``, ``num_images``, ``values``), None where not computed."""
    path = measure_folder(evaluation, name, benchmark) / DONE
    if not path.is_file():
        return None
    record: dict[str, Any] = read_json(path)
    return record


def measured(evaluation: Path, name: str, benchmark: Benchmark, fingerprint: str) -> bool:
    """Tell whether measure ``name`` of exactly this evaluation (``fingerprint``) is there."""
    record = read_measure(evaluation, name, benchmark)
    return record is not None and record["fingerprint"] == fingerprint


def write_measure(
    evaluation: Path, measure: Measure, fingerprint: str, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Store a finished measure beside the counts; returns what ``measure.json`` holds."""
    folder = measure_folder(evaluation, measure.name, measure.benchmark)
    parts = measure.build()
    for part, counts in parts.items():
        counts.save(folder / f"{part}.npz")
    values = {k: float(v) if np.isfinite(v) else None for k, v in measure.values(parts).items()}
    images = len(next(iter(parts.values())))
    record = {
        "format": 1,
        "measure": measure.name,
        "benchmark": measure.benchmark.id,
        "fingerprint": fingerprint,
        "num_images": images,
        "values": values,
        **(extra or {}),
    }
    write_json(folder / DONE, record)
    return record


def part_counts(evaluation: Path, part: str, benchmark: Benchmark) -> Counts:
    """Return the counts called ``part`` of whichever measure has it; RunError where it was not computed."""
    name = next(n for n, m in MEASURES.items() if part in m.parts(benchmark))
    if read_measure(evaluation, name, benchmark) is None:
        raise RunError(
            f"{evaluation} has no measure {name!r}",
            expected=str(measure_folder(evaluation, name, benchmark) / DONE),
            found="nothing",
            mend=f"run the same table or evaluation again with {command('--measures', name)}",
        )
    return Counts.load(measure_folder(evaluation, name, benchmark) / f"{part}.npz")
