"""Setting labels against what the rule makes of their sources, and images against what readers make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.images import check_upright, read_label
from repro.datasets.listing import SourcePair
from repro.datasets.prepare.formats import Outcome, Task, convert_source, perform, present
from repro.errors import DataError


def compare(task: Task) -> Outcome:
    """Set the label of ``task``, which others made, against what the rule makes of its source."""
    benchmark = get_benchmark(task.benchmark)
    if task.image is None:
        check_upright(task.source.image, task.mend)
    try:
        label = read_label(task.label)
    except DataError as error:
        return Outcome(task.source.key, "kept", {}, error.message)
    difference = label_difference(benchmark, task.source, task.label, label, task.mend)
    return Outcome(task.source.key, "kept", present(np.bincount(label.ravel())), difference)


def label_difference(benchmark: Benchmark, source: SourcePair, path: Path, label: NDArray[Any], mend: str) -> str:
    """Say how ``label`` (H, W) read from ``path`` differs from what the rule makes of ``source``; "" where it does not.

    Raises DataError for a source that cannot be read.
    """
    fresh = convert_source(benchmark, source, mend)
    if fresh.shape != label.shape:
        sizes = [f"{shape[0]}x{shape[1]}" for shape in (label.shape, fresh.shape)]
        return f"label {path} is {sizes[0]}, its source gives {sizes[1]} (height x width)"
    wrong = int((fresh != label).sum())
    if wrong == 0:
        if fresh.dtype != label.dtype:
            return f"label {path} is {label.dtype}, the rules make {fresh.dtype}"
        return ""
    y, x = (int(v) for v in divmod(int((fresh != label).argmax()), label.shape[1]))
    return (
        f"label {path} differs from its source in {wrong:,} of {label.size:,} pixels, first at row {y}, "
        f"column {x}: {label[y, x]} where the rules give {fresh[y, x]}"
    )


def make(task: Task) -> Outcome:
    """Make one label (:func:`.formats.perform`), of an image that will be read as it is stored."""
    if task.image is None:  # else it is written again, without its orientation
        check_upright(task.source.image, task.mend)
    return perform(task)
