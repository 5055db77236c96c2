"""Data named by the user: used where they lie, prepared into the cache where they cannot be written."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from repro.datasets.benchmarks import Benchmark
from repro.datasets.data_set import DataSet
from repro.errors import DataError, ResourceError
from repro.files import storage_errors, write_text
from repro.hashing import digest
from repro.mends import Missing

if TYPE_CHECKING:
    from repro.datasets.layout import Pair

NOT_COMPARED = "not compared with the rule"


def open_data(benchmark: Benchmark, data_root: Path, cache: Path, split: str | None = None) -> tuple[list[Pair], Path]:
    """Return pairs of ``benchmark`` below ``data_root`` and the root their labels lie under.

    Labels that are not prepared yet are converted into a view of the set in ``cache`` (symbolic links to the images
    and source labels, real folders for what is written), so that a named data root is only read; they are made again
    when the sources changed. Raises DataError where neither prepared nor source files are there, where labels were
    made from other sources, and where labels without a note are not what the rule makes of their sources.
    """
    from repro.datasets.layout import prepared_pairs
    from repro.datasets.prepare.origin import refuse_unfit

    split = split or benchmark.splits[0].name
    try:
        pairs = prepared_pairs(benchmark, data_root, split)
    except DataError:
        if not (data_root / benchmark.folder).is_dir():
            raise
        return _view(benchmark, data_root, cache, split)
    refuse_unfit(benchmark, data_root, split, cache)
    compare_unaccounted(benchmark, data_root, cache, split)
    return pairs, data_root


def not_compared(benchmark: Benchmark, data_root: Path, split: str | None = None) -> str:
    """Say whose labels are not known to be what the rule makes; "" where they are, or can be compared."""
    from repro.datasets.layout import source_pairs

    words = unaccounted(benchmark, data_root, split)
    try:
        there = bool(words) and bool(source_pairs(benchmark, data_root, split))
    except DataError:
        there = False
    return "" if there or not words else f"{words}, {NOT_COMPARED}"


def compare_unaccounted(benchmark: Benchmark, data_root: Path, cache: Path, split: str | None = None) -> None:
    """Raise DataError for labels that do not remember their sources and are not what the rule makes of them.

    What was found equal is remembered below ``cache``, by content.
    """
    from repro.datasets.contents import Contents
    from repro.datasets.layout import source_pairs
    from repro.datasets.prepare.marker import rules_digest
    from repro.datasets.prepare.prepare import compare_others
    from repro.runs.progress import count_progress

    split = split or benchmark.splits[0].name
    words = unaccounted(benchmark, data_root, split)
    if not words:
        return
    try:
        sources = source_pairs(benchmark, data_root, split)
    except DataError:
        return  # said by those who print the figures
    name = f"{benchmark.id}-{split}-{digest(str(data_root.resolve()), 10)}"
    annotations = Contents(cache / "contents" / f"{name}-sources.json").digests(sorted({s.label for s in sources}))
    key = digest([named_content(benchmark.id, data_root, cache, split), annotations, rules_digest(benchmark)])
    note = cache / "compared" / f"{name}.json"
    if note.is_file() and note.read_text(encoding="utf-8") == key:
        return
    with count_progress(f"comparing {words} of {benchmark.id} with their sources", "image") as update:
        compare_others(benchmark.id, data_root, split, update)
    if cache.is_dir():
        with contextlib.suppress(ResourceError):
            write_text(note, key)


def _view(benchmark: Benchmark, data_root: Path, cache: Path, split: str) -> tuple[list[Pair], Path]:
    from repro.datasets.layout import prepared_pairs
    from repro.datasets.prepare.command import prepare_alone
    from repro.datasets.prepare.origin import refuse_unfit

    view = cache / "views" / digest(str(data_root.resolve()), 10)
    link_view(data_root / benchmark.folder, view / benchmark.folder)
    try:
        try:
            refuse_unfit(benchmark, view, split, cache)
        except DataError:  # of sources that have changed since: nobody but this program uses the view
            prepare_alone(benchmark.id, view, split=split, again=True)
        prepare_alone(benchmark.id, view, split=split)
        return prepared_pairs(benchmark, view, split), view
    except DataError as error:
        raise _seen_from(error, view, data_root) from error


def named_content(set_id: str, data_root: Path, cache: Path, split: str | None = None) -> str:
    """Return the fingerprint of a set that the user named, with a bar while its files are read for the first time."""
    from repro.datasets.verify.fingerprint import fingerprint
    from repro.runs.progress import reading_progress

    with reading_progress(set_id) as update:
        return fingerprint(set_id, data_root, split, cache, update)


def source_content(data_set: DataSet, cache: Path) -> str:
    """Return what a set of the user's own is known by: its images and masks, and what its description makes of them."""
    from repro.datasets.contents import Contents
    from repro.datasets.layout import Pair, source_pairs
    from repro.datasets.prepare.marker import rules_digest
    from repro.datasets.verify.fingerprint import pairs_digest
    from repro.runs.progress import reading_progress

    assert data_set.root is not None
    state = [data_set.id, rules_digest(data_set)]
    for part in data_set.splits:
        pairs = [Pair(p.key, p.image, p.label) for p in source_pairs(data_set, data_set.root, part.name)]
        name = f"{data_set.id}-{part.name}-{digest(str(data_set.root), 10)}-own.json"
        with reading_progress(data_set.id) as update:
            state.append(pairs_digest(pairs, Contents(cache / "contents" / name), part.name, update))
    return digest(state, 16)


def sources_unfit(data_set: DataSet) -> list[Missing]:
    """Return what keeps a set of the user's own from being used: a folder or a file that is absent."""
    from repro.datasets.layout import source_pairs

    assert data_set.root is not None
    try:
        for part in data_set.splits:
            source_pairs(data_set, data_set.root, part.name)
    except DataError as error:
        return [Missing(f"{data_set.id}: {error.message}", error.mend or data_set.instructions)]
    return []


def unfit(benchmark: Benchmark, data_root: Path, cache: Path | None = None) -> DataError | None:
    """Return why the prepared labels of a set cannot be used: absent, incomplete, of other sources, without class."""
    from repro.datasets.layout import prepared_pairs
    from repro.datasets.prepare.origin import refuse_unfit

    try:
        prepared_pairs(benchmark, data_root)
        refuse_unfit(benchmark, data_root, cache=cache)
    except DataError as error:
        return error
    return None


def unaccounted(benchmark: Benchmark, data_root: Path, split: str | None = None) -> str:
    """Name in words the labels that do not remember what they were made of; "" where they do or none are there."""
    from repro.datasets.prepare.marker import read_marker
    from repro.datasets.prepare.origin import read_origin

    labels = data_root / benchmark.folder / benchmark.split(split).labels
    if not labels.is_dir():
        return ""
    marker = read_marker(labels)
    if marker is None:
        return "labels made by others"
    return "" if read_origin(labels, marker) is not None else "labels made from unknown sources"


def _seen_from(error: DataError, view: Path, data_root: Path) -> DataError:
    """Return the same error in terms of the folder the user named: the view means nothing to them."""

    def named(value: object) -> str | None:
        return None if value is None else str(value).replace(str(view), str(data_root))

    text = named(error.message) or ""
    return DataError(text, expected=named(error.expected), found=named(error.found), mend=named(error.mend))


def link_view(source: Path, view: Path) -> None:
    """Make ``view`` show every entry of ``source`` but prepared folders, which are left to be written there.

    Links to what is gone from ``source`` are taken away.
    """
    with storage_errors(view):
        view.mkdir(parents=True, exist_ok=True)
        for entry in view.iterdir():
            if entry.is_symlink() and not entry.exists():
                entry.unlink(missing_ok=True)
        for entry in source.iterdir():
            link = view / entry.name
            if "_detectron2" in entry.name or link.exists():
                continue
            with contextlib.suppress(FileExistsError):  # another process was quicker
                link.symlink_to(entry.resolve(), target_is_directory=entry.is_dir())
