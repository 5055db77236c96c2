"""What prepared labels were made of: the annotation of every image by content, kept beside the labels.

``annotations_detectron2/.validation.sources.json`` belongs to ``annotations_detectron2/validation``. Annotations are
read once; later their size, time stamps and inode are looked at, and only those where these differ are read again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from repro.datasets.benchmarks import Benchmark, Split
from repro.datasets.contents import Contents, settled, stamp
from repro.datasets.layout import prepare_command, some, source_pairs
from repro.datasets.listing import SourcePair
from repro.datasets.prepare.marker import Marker, read_marker
from repro.errors import DataError
from repro.files import write_text
from repro.hashing import digest

Entry = list[Any]
"""Stamp (:func:`repro.datasets.contents.stamp`) and digest of a file; of an annotation in a shared file the digest."""
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Origin:
    """The entries of the files each label was made of, by key; ``shared`` is the entry of a file all are in (PC-59)."""

    entries: Mapping[str, list[Entry]]
    shared: Entry | None = None

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits over keys and contents; time stamps do not count."""
        return digest({key: [entry[-1] for entry in files] for key, files in self.entries.items()}, 16)


@dataclasses.dataclass(frozen=True)
class Changes:
    """Keys that are listed now and were not (``new``), are no longer (``gone``), or have another annotation."""

    new: tuple[str, ...]
    gone: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def outdated(self) -> bool:
        """Whether labels are there that would not be made now."""
        return bool(self.gone or self.other)

    def __str__(self) -> str:
        words = [
            f"{len(keys)} {what} ({some(list(keys))})"
            for keys, what in (
                (self.other, "annotations differ from those the labels were made of"),
                (self.gone, "images are no longer listed"),
                (self.new, "images are listed anew"),
            )
            if keys
        ]
        return "; ".join(words)


def origin_path(labels: Path) -> Path:
    """Return where the origin of a label folder is kept."""
    return labels.parent / f".{labels.name}.sources.json"


def write_origin(labels: Path, origin: Origin) -> None:
    """Keep ``origin`` beside the labels, atomically."""
    value = {"format": _FORMAT, "shared": origin.shared, "entries": origin.entries}
    write_text(origin_path(labels), json.dumps(value, separators=(",", ":")) + "\n")


def read_origin(labels: Path, marker: Marker | None) -> Origin | None:
    """Return what the labels of the note ``marker`` were made of; None where it is not known (version 0.1.0)."""
    if marker is None or not marker.origin:
        return None
    try:
        value = json.loads(origin_path(labels).read_text(encoding="utf-8"))
        origin = Origin(value["entries"], value["shared"]) if value["format"] == _FORMAT else None
        return origin if origin is not None and origin.digest == marker.origin else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None


def take_origin(
    benchmark: Benchmark, sources: Sequence[SourcePair], known: Origin | None = None, contents: Contents | None = None
) -> Origin:
    """Return the origin of labels made from ``sources``. Files whose stamp stands in ``known`` are not read again.

    ``contents`` remembers what was read since (of sources that were copied, so that their stamps are other ones).
    """
    contents = contents or Contents()
    if benchmark.shared_annotations:
        shared = _entries(contents, [sources[0].label], [])[0] if sources else None
        return Origin({s.key: [[digest(dict(s.note or {}), 16)]] for s in sources}, shared)
    old = {} if known is None else known.entries
    files = [[s.label, s.image] if benchmark.resized_images else [s.label] for s in sources]
    before: list[Entry] = []
    for source, own in zip(sources, files, strict=True):
        entries = old.get(source.key, [])
        before += entries if len(entries) == len(own) else [[] for _ in own]
    found = iter(_entries(contents, [path for own in files for path in own], before))
    return Origin({s.key: [next(found) for _ in own] for s, own in zip(sources, files, strict=True)})


def _entries(contents: Contents, paths: Sequence[Path], before: Sequence[Entry]) -> list[Entry]:
    """Return an entry for each of ``paths``; the one ``before`` is kept where its stamp is still that of the file."""
    stamps = [stamp(path) for path in paths]
    known = len(before) == len(paths)
    new = [i for i, now in enumerate(stamps) if not known or before[i][:-1] != now]
    found = list(before) if known else [[] for _ in paths]
    for i, value in zip(new, contents.digests([paths[i] for i in new]) if new else [], strict=True):
        found[i] = [*(stamps[i] if settled(stamps[i]) else [0] * len(stamps[i])), value]
    return found


def changes(
    benchmark: Benchmark, data_root: Path, part: Split, origin: Origin | None, contents: Contents | None = None
) -> Changes | None:
    """Return what differs between ``origin`` and the current sources; None where nothing does, or it cannot be told."""
    if origin is None:
        return None
    try:
        if origin.shared is not None:
            file = data_root / benchmark.folder / part.source_labels[0]
            if _entries(contents or Contents(), [file], [origin.shared])[0][-1] == origin.shared[-1]:
                return None
        now = take_origin(benchmark, source_pairs(benchmark, data_root, part.name), origin, contents)
    except DataError:
        return None  # the sources were removed after the preparation
    if now.digest == origin.digest:
        return None
    before = origin.entries
    other = [k for k in now.entries.keys() & before.keys() if _contents(now, k) != _contents(origin, k)]
    new, gone = now.entries.keys() - before.keys(), before.keys() - now.entries.keys()
    return Changes(tuple(sorted(new)), tuple(sorted(gone)), tuple(sorted(other)))


def _contents(origin: Origin, key: str) -> list[Any]:
    return [entry[-1] for entry in origin.entries[key]]


def outdated(benchmark: Benchmark, data_root: Path, part: Split, found: Changes) -> DataError:
    """Return the error for labels that were made from other annotations or another list."""
    return DataError(
        f"{benchmark.id}: the labels in {data_root / benchmark.folder / part.labels} were made from other sources",
        expected="labels of the annotations and the list that are there now",
        found=str(found),
        mend=prepare_command(benchmark, data_root, part, again=found.outdated),
    )


def nothing_labelled(benchmark: Benchmark, data_root: Path, part: Split, count: int) -> DataError:
    """Return the error for a split in which no pixel belongs to a class."""
    source = data_root / benchmark.folder / part.source_labels[0]
    return DataError(
        f"{benchmark.id}: no pixel of {count} images has a class: nothing could be trained or evaluated on them",
        expected=f"pixels of {benchmark.num_classes} classes",
        found=f"ignored pixels only; is {source} that of these images?",
        mend=f"put the right annotations into place, then {prepare_command(benchmark, data_root, part, again=True)}",
    )


def refuse_unfit(benchmark: Benchmark, data_root: Path, split: str | None = None, cache: Path | None = None) -> None:
    """Raise DataError for prepared labels that must not be used: made from other sources, or without any class.

    Sources that are read again because their stamps are not those of the note are remembered below ``cache``.
    """
    part = benchmark.split(split)
    labels = data_root / benchmark.folder / part.labels
    marker = read_marker(labels)
    if marker is None:
        return
    if marker.complete and marker.histogram and not labelled(benchmark, marker.histogram):
        raise nothing_labelled(benchmark, data_root, part, marker.keys)
    name = f"{benchmark.id}-{part.name}-{digest(str(data_root.resolve()), 10)}-origin.json"
    contents = Contents(None if cache is None else cache / "contents" / name)
    found = changes(benchmark, data_root, part, read_origin(labels, marker), contents)
    if found is not None:
        raise outdated(benchmark, data_root, part, found)


def labelled(benchmark: Benchmark, histogram: Mapping[str, int]) -> bool:
    """Tell whether some pixel counted in ``histogram`` (by label value) has a class."""
    return any(count for value, count in histogram.items() if int(value) < benchmark.num_classes)
