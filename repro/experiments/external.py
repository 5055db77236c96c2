"""Evaluation data named by the user: used where it lies, prepared into the cache where it cannot be written."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from repro.benchmarks.spec import Benchmark
from repro.errors import DataError
from repro.files import storage_errors
from repro.hashing import digest

if TYPE_CHECKING:
    from repro.benchmarks.layout import Pair


def open_data(benchmark: Benchmark, data_root: Path, cache: Path, split: str | None = None) -> tuple[list[Pair], Path]:
    """Pairs of ``benchmark`` below ``data_root`` and the root their labels lie under.

    Labels that are not prepared yet are converted into a view of the set in ``cache`` (symbolic links to the images
    and source labels, real folders for what is written), so that a named data root is only read. Raises DataError
    where neither prepared nor source files are there.
    """
    from repro.benchmarks.layout import prepared_pairs
    from repro.benchmarks.preparing import prepare_alone

    split = split or benchmark.splits[0].name
    try:
        return prepared_pairs(benchmark, data_root, split), data_root
    except DataError:
        if not (data_root / benchmark.folder).is_dir():
            raise
    view = cache / "views" / digest(str(data_root.resolve()), 10)
    link_view(data_root / benchmark.folder, view / benchmark.folder)
    try:
        prepare_alone(benchmark.id, view, split=split)
        return prepared_pairs(benchmark, view, split), view
    except DataError as error:
        raise _seen_from(error, view, data_root) from error


def _seen_from(error: DataError, view: Path, data_root: Path) -> DataError:
    """The same error in terms of the folder the user named: the view means nothing to them."""

    def named(value: object) -> str | None:
        return None if value is None else str(value).replace(str(view), str(data_root))

    text = named(error.message) or ""
    return DataError(text, expected=named(error.expected), found=named(error.found), mend=named(error.mend))


def link_view(source: Path, view: Path) -> None:
    """Make ``view`` show every entry of ``source`` but prepared folders, which are left to be written there."""
    with storage_errors(view):
        view.mkdir(parents=True, exist_ok=True)
        for entry in source.iterdir():
            link = view / entry.name
            if "_detectron2" in entry.name or link.exists():
                continue
            with contextlib.suppress(FileExistsError):  # another process was quicker
                link.symlink_to(entry.resolve(), target_is_directory=entry.is_dir())
