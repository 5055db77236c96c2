"""Reading the labels that ``repro data captions`` wrote."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repro.errors import DataError, command

PROVENANCE = "provenance.json"
VOCABULARY = "vocabulary.tsv"
SHARDS = "shards"


@dataclasses.dataclass(frozen=True)
class LabelledImage:
    """An image and the noun phrases of its captions; in an archive, ``offset`` and ``bytes`` say where it lies."""

    image: str
    labels: tuple[str, ...]
    archive: str | None = None
    offset: int = 0
    bytes: int = 0


def load_vocabulary(folder: Path, min_count: int = 1) -> dict[str, int]:
    """Load labels and in how many records each is, the most frequent first, down to ``min_count``.

    Raises DataError where ``folder`` holds no finished labels.
    """
    if not (folder / PROVENANCE).is_file():
        raise DataError(
            f"{folder} holds no finished labels",
            expected=f"{PROVENANCE}, which is written last",
            found="a part" if (folder / SHARDS).is_dir() else "nothing",
            mend=command("repro", "data", "captions", "SOURCE", "--out", folder),
        )
    lines = (line.rpartition("\t") for line in (folder / VOCABULARY).read_text(encoding="utf-8").splitlines())
    return {label: int(count) for label, _, count in lines if int(count) >= min_count}


def iterate_labels(folder: Path, min_count: int = 1) -> Iterator[LabelledImage]:
    """Yield the images of ``folder`` in the order of the source, with labels that ``min_count`` records have.

    Images without such a label are left out; one that the source names far apart comes more than once.
    Raises DataError where ``folder`` holds no finished labels.
    """
    kept = load_vocabulary(folder, min_count)
    for path in shard_files(folder):
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                if (image := parse_line(line, kept)) is not None:
                    yield image


def load_labels(folder: Path, min_count: int = 1) -> dict[str, tuple[str, ...]]:
    """Load all images of ``folder`` with the union of their labels (see :func:`iterate_labels`), in memory."""
    labels: dict[str, tuple[str, ...]] = {}
    for item in iterate_labels(folder, min_count):
        known = labels.get(item.image, ())
        labels[item.image] = tuple(dict.fromkeys((*known, *map(sys.intern, item.labels))))
    return labels


def shard_files(folder: Path) -> list[Path]:
    """Return the files of labels, in order."""
    return sorted((folder / SHARDS).glob("[0-9]*.jsonl"))


def parse_line(line: str | bytes, kept: dict[str, int]) -> LabelledImage | None:
    """Return the record of a line with its labels in ``kept``; None where it has none of them."""
    value: dict[str, Any] = json.loads(line)
    value["labels"] = tuple(label for label in value["labels"] if label in kept)
    return LabelledImage(**value) if value["labels"] else None


def read_counts(path: Path) -> Counter[str]:
    """Count in how many records of a file of labels each label is."""
    with path.open(encoding="utf-8") as stream:
        return Counter(label for line in stream for label in json.loads(line)["labels"])
