"""One preparation of a set at a time, and nothing left of those that were killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.listing import leads_out
from repro.datasets.prepare.prepare import PrepareSummary, Progress, prepare
from repro.files import storage_errors
from repro.locks import folder_lock


def prepare_alone(
    benchmark_id: str,
    data_root: Path,
    jobs: int = 1,
    progress: Progress | None = None,
    split: str | None = None,
    *,
    again: bool = False,
) -> PrepareSummary:
    """Prepare a set, after any other process that prepares into the same folder.

    A data root that may only be read is taken as it is: a finished preparation needs no lock.
    """
    benchmark = get_benchmark(benchmark_id)
    labels = data_root / benchmark.folder / benchmark.split(split).labels
    with _alone(data_root / benchmark.folder, labels):
        return prepare(benchmark_id, data_root, jobs, progress, split, again=again)


@contextlib.contextmanager
def _alone(source: Path, labels: Path) -> Iterator[None]:
    if (
        not source.is_dir()
        or leads_out(source, labels)
        or not os.access(labels.parent if labels.parent.is_dir() else source, os.W_OK)
    ):
        yield
        return
    with folder_lock(labels.parent, wait=True):
        if labels.is_dir():
            with storage_errors(labels):
                for rest in labels.glob(".*.partial"):
                    rest.unlink(missing_ok=True)
        yield
