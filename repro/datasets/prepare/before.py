"""What is looked at before labels are written: whether they can be made, and what others have put there."""

from __future__ import annotations

import os
from pathlib import Path

from repro.datasets.benchmarks import Benchmark, Split
from repro.datasets.layout import files_by_key, prepare_command, some, source_pairs
from repro.datasets.prepare.marker import Marker
from repro.errors import DataError, command


def can_be_made(benchmark: Benchmark, data_root: Path, part: Split) -> bool:
    """Tell whether the sources of a split are there and its labels may be written."""
    try:
        there = bool(source_pairs(benchmark, data_root, part.name))
    except DataError:
        return False
    return there and os.access(data_root / benchmark.folder / part.labels, os.W_OK)


def refuse_others(benchmark: Benchmark, data_root: Path, part: Split, marker: Marker | None) -> None:
    """Raise DataError where labels are there that others made: they are not replaced."""
    folder = data_root / benchmark.folder / part.labels
    there = files_by_key(folder, benchmark.label_suffix)
    others = sorted(there if marker is None else there.keys() & set(marker.adopted))
    if others:
        raise DataError(
            f"{benchmark.id}: {len(others)} labels in {folder} were made by others: they are not replaced",
            expected="labels that this program made, with its note",
            found=some(others),
            mend=f"move {command(folder)} elsewhere, then {prepare_command(benchmark, data_root, part)}",
        )


def refuse_strangers(folder: Path, benchmark: Benchmark, keys: set[str]) -> None:
    """Raise DataError for labels of no listed image: they would be evaluated, and as the user's are not removed."""
    labels = {path.name[: -len(benchmark.label_suffix)] for path in folder.glob(f"[!.]*{benchmark.label_suffix}")}
    strangers = sorted(labels - keys)
    if strangers:
        raise DataError(
            f"{benchmark.id}: {folder} holds labels that belong to no image of the split",
            expected=f"labels of the {len(keys)} images the source lists",
            found=f"{len(strangers)} others: {some(strangers)}",
            mend=f"move those out of {command(folder)}, or restore their sources",
        )
