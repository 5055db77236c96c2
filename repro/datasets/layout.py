"""Which files belong to a benchmark: the sources as distributed, and the prepared labels beside them.

The layout is the one the official repositories use (CAT-Seg's datasets/README), so that data prepared by their
scripts are found. Listing reads names, never pixels.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from repro.datasets.benchmarks import Benchmark, Split
from repro.datasets.listing import SourcePair, Spelling, first_file, sources_by_key
from repro.datasets.prepare.marker import read_marker, rules_digest
from repro.errors import DataError, command


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its prepared label; ``key`` is the file name without its ending."""

    key: str
    image: Path
    label: Path


def prepare_command(benchmark: Benchmark, data_root: Path, split: Split | None = None, *, again: bool = False) -> str:
    """Return the command that prepares a set (and a split other than the set's own), ``again`` where it was before."""
    if benchmark.described_by is not None:  # a set of the user's own is prepared when it is used
        return command("repro", "eval", "METHOD", "--dataset", benchmark.described_by)
    words: list[object] = ["repro", "data", "prepare", benchmark.id, "--data-root", data_root]
    if split is not None and split != benchmark.splits[0]:
        words += ["--split", split.name]
    return command(*words, *(["--again"] if again else []))


def prepared_pairs(benchmark: Benchmark, data_root: Path, split: str | None = None) -> list[Pair]:
    """Return the images and prepared labels of a split (default: the set's own), sorted by key.

    Complete is judged by the note ``repro data prepare`` leaves; without one (data the official scripts made), by the
    list of source images, and where the sources are gone by the published count. Raises DataError, naming the command
    that mends it, where labels are missing or the preparation was interrupted.
    """
    part = benchmark.split(split)
    folder = data_root / benchmark.folder
    labels_folder, mend = folder / part.labels, prepare_command(benchmark, data_root, part)
    labels = files_by_key(labels_folder, benchmark.label_suffix)
    if not labels:
        benchmark.need(data_root / benchmark.folder)
        raise DataError(
            f"{benchmark.id} is not prepared",
            expected=f"{part.num_images} labels *{benchmark.label_suffix} in {labels_folder}",
            found="none",
            mend=mend,
        )
    expected = _expected_keys(benchmark, data_root, part, labels)
    missing = sorted(expected - labels.keys())
    if missing:
        raise DataError(
            f"{benchmark.id} is half-prepared",
            expected=f"{len(expected)} labels in {labels_folder}",
            found=f"{len(expected) - len(missing)}; missing {some(missing)}",
            mend=mend,
        )
    images = prepared_images(benchmark, folder / part.images)
    without = sorted(labels.keys() - images.keys())
    if without:
        raise DataError(
            f"{benchmark.id}: labels without an image",
            expected=f"an image in {folder / part.images} for each of {len(labels)} labels",
            found=f"{len(without)} without: {some(without)}",
            mend=mend if benchmark.resized_images else benchmark.instructions,
        )
    return [Pair(key, images[key], labels[key]) for key in sorted(labels)]


def _expected_keys(benchmark: Benchmark, data_root: Path, part: Split, labels: Mapping[str, Path]) -> set[str]:
    """Return the keys that must have a label."""
    labels_folder = data_root / benchmark.folder / part.labels
    marker = read_marker(labels_folder)
    if marker is not None and not marker.complete:
        raise DataError(
            f"{benchmark.id} is half-prepared: its preparation was interrupted",
            expected=f"{marker.keys} labels in {labels_folder}",
            found=len(labels),
            mend=prepare_command(benchmark, data_root, part),
        )
    if marker is not None and not marker.made_by_rules_of(benchmark):
        raise DataError(
            f"{benchmark.id} was prepared by other rules",
            expected=f"rules that make {rules_digest(benchmark)} of the samples",
            found=f"rules that made {marker.rules}",
            mend=prepare_command(benchmark, data_root, part),
        )
    if marker is not None:
        complete = marker.keys - len(marker.dropped)
        if len(labels) != complete:
            raise DataError(
                f"{benchmark.id} is half-prepared: files were removed or added since",
                expected=f"{complete} labels in {labels_folder}",
                found=len(labels),
                mend=prepare_command(benchmark, data_root, part),
            )
        return set(labels)
    keys = benchmark.listed_keys(data_root / benchmark.folder, part)
    if keys is None and len(labels) != part.num_images:
        raise DataError(
            f"{benchmark.id}: cannot tell whether its labels are complete, for the sources are gone",
            expected=f"{part.num_images} labels in {labels_folder}",
            found=len(labels),
            mend=prepare_command(benchmark, data_root, part),
        )
    if keys is None:
        return set(labels)
    return keys - unlabelled(benchmark, data_root, part, keys - labels.keys())


def prepared_images(benchmark: Benchmark, folder: Path) -> dict[str, Path]:
    """Return the images that belong to prepared labels, by key."""
    return sources_by_key(folder, ".jpg") if benchmark.resized_images else benchmark.image_files(folder)


def unlabelled(benchmark: Benchmark, data_root: Path, part: Split, keys: Iterable[str]) -> set[str]:
    """Return those of ``keys`` whose source mask has no labelled pixel, which PAS-20 drops. Reads the masks."""
    if not benchmark.unlabelled_values:
        return set()
    from repro.datasets.images import read_label

    found = set()
    for key in keys:
        mask = first_file(data_root / benchmark.folder, part.source_labels, f"{key}{benchmark.mask_suffix}")
        if mask.is_file() and set(read_label(mask).ravel().tolist()) <= set(benchmark.unlabelled_values):
            found.add(key)
    return found


def source_pairs(benchmark: Benchmark, data_root: Path, split: str | None = None) -> list[SourcePair]:
    """Return the images and annotations of a split as distributed, sorted by key.

    A folder may hold fewer images than the published set (a sample, the miniature); but each listed one must have its
    image and its annotation. Raises DataError naming what is absent and where it comes from.
    """
    part = benchmark.split(split)
    pairs = benchmark.list_sources(benchmark.need(data_root / benchmark.folder), part)
    if not pairs:
        raise DataError(
            f"{benchmark.id} has no image of split {part.name}",
            expected=f"{part.num_images} images below {data_root / benchmark.folder / part.source_images}",
            found="none",
            mend=benchmark.instructions,
        )
    return sorted(_present(benchmark, pairs), key=lambda p: p.key)


def some(names: list[str], most: int = 3) -> str:
    """Return a few of ``names`` and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _present(benchmark: Benchmark, pairs: list[SourcePair]) -> list[SourcePair]:
    """Return ``pairs`` with the files as they are spelled on disk; DataError naming those that are absent."""
    absent: dict[str, list[str]] = {"image": [], "annotation": []}
    spelling, found = Spelling(), []
    for pair in pairs:
        image, label = spelling(pair.image), spelling(pair.label)
        if image is None:
            absent["image"].append(str(pair.image))
        elif label is None:
            absent["annotation"].append(str(pair.label))
        else:
            usual = image is pair.image and label is pair.label
            found.append(pair if usual else dataclasses.replace(pair, image=image, label=label))
    for what, paths in absent.items():
        if paths:
            raise DataError(
                f"{benchmark.id}: {len(paths)} of {len(pairs)} {what}s are absent",
                expected=f"one for each of {len(pairs)} listed images",
                found=f"no {some(sorted(paths))}",
                mend=benchmark.instructions,
            )
    return found


def files_by_key(folder: Path, suffix: str) -> dict[str, Path]:
    """Return files of a folder by name without ending; hidden and partial files do not count."""
    if not folder.is_dir():
        return {}
    names = (entry.name for entry in os.scandir(folder))
    return {n[: -len(suffix)]: folder / n for n in names if n.endswith(suffix) and not n.startswith(".")}
