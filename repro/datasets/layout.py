"""Which files belong to a benchmark: the sources as distributed, and the prepared labels beside them.

The layout is the one the official repositories use (CAT-Seg's datasets/README), so that data prepared by their
scripts are found. Listing reads names, never pixels.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repro.datasets.benchmarks import Benchmark, Split
from repro.datasets.prepare.listing import IMAGE_SUFFIX as IMAGE_SUFFIX
from repro.datasets.prepare.listing import Spelling, first_file, sources_by_key, walk_ade
from repro.datasets.prepare.marker import read_marker, rules_digest
from repro.datasets.texts import plain_name, read_document, read_names, shown
from repro.errors import DataError, command

_CONVERTED = "_labelTrainIds"
"""What mmsegmentation's scripts add to the names of masks they converted, which lie beside the sources."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its prepared label; ``key`` is the file name without its ending."""

    key: str
    image: Path
    label: Path


@dataclasses.dataclass(frozen=True)
class SourcePair:
    """An image and its annotation as distributed. ``note`` is what a shared file says of this image (PC-59)."""

    key: str
    image: Path
    label: Path
    note: Mapping[str, Any] | None = None


def prepare_command(benchmark: Benchmark, data_root: Path, split: Split | None = None, *, again: bool = False) -> str:
    """The command that prepares a set (and a split, where it is not the set's own), ``again`` where it was before."""
    words: list[object] = ["repro", "data", "prepare", benchmark.id, "--data-root", data_root]
    if split is not None and split != benchmark.splits[0]:
        words += ["--split", split.name]
    return command(*words, *(["--again"] if again else []))


def prepared_pairs(benchmark: Benchmark, data_root: Path, split: str | None = None) -> list[Pair]:
    """The images and prepared labels of a split (default: the set's own), sorted by key.

    Complete is judged by the note ``repro data prepare`` leaves; without one (data the official scripts made), by the
    list of source images, and where the sources are gone by the published count. Raises DataError, naming the command
    that mends it, where labels are missing or the preparation was interrupted.
    """
    part = benchmark.split(split)
    folder = data_root / benchmark.folder
    labels_folder, mend = folder / part.labels, prepare_command(benchmark, data_root, part)
    labels = files_by_key(labels_folder, benchmark.label_suffix)
    if not labels:
        _need_folder(benchmark, data_root)
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
    images = files_by_key(folder / part.images, IMAGE_SUFFIX)
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
    """The keys that must have a label."""
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
    keys = listed_keys(benchmark, data_root, part)
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


def listed_keys(benchmark: Benchmark, data_root: Path, part: Split) -> set[str] | None:
    """The keys the source lists, None where it is gone. Names only: the big file of PC-59 is not opened for it."""
    folder = data_root / benchmark.folder
    if part.ids:
        return set(_read_ids(benchmark, folder / part.ids)) if (folder / part.ids).is_file() else None
    if benchmark.rule == "pc59":
        ids = folder / f"pascalcontext_{part.name}.txt"
        return set(_read_ids(benchmark, ids)) if ids.is_file() else None
    if benchmark.rule == "ade847":
        return set(walk_ade(folder / part.source_images)) or None
    return set(sources_by_key(folder / part.source_images, IMAGE_SUFFIX)) or None


def unlabelled(benchmark: Benchmark, data_root: Path, part: Split, keys: Iterable[str]) -> set[str]:
    """Those of ``keys`` whose source mask has no labelled pixel, which PAS-20 drops. Reads the masks."""
    if not benchmark.unlabelled_values:
        return set()
    from repro.datasets.images import read_label

    found = set()
    for key in keys:
        mask = first_file(data_root / benchmark.folder, part.source_labels, f"{key}.png")
        if mask.is_file() and set(read_label(mask).ravel().tolist()) <= set(benchmark.unlabelled_values):
            found.add(key)
    return found


def source_pairs(benchmark: Benchmark, data_root: Path, split: str | None = None) -> list[SourcePair]:
    """The images and annotations of a split as distributed, sorted by key.

    A folder may hold fewer images than the published set (a sample, the miniature); but each listed one must have its
    image and its annotation. Raises DataError naming what is absent and where it comes from.
    """
    part = benchmark.split(split)
    folder = _need_folder(benchmark, data_root)
    if benchmark.rule == "pc59":
        pairs = _context59_sources(benchmark, folder, part)
    elif benchmark.rule == "ade847":
        images = walk_ade(_need(benchmark, folder / part.source_images))
        pairs = [SourcePair(k, image, image.with_name(f"{k}_seg.png")) for k, image in images.items()]
    elif part.ids:
        suffix = ".mat" if benchmark.rule == "pc459" else ".png"
        images_folder = _need(benchmark, folder / part.source_images)
        pairs = [
            SourcePair(
                key, images_folder / f"{key}{IMAGE_SUFFIX}", first_file(folder, part.source_labels, key + suffix)
            )
            for key in _read_ids(benchmark, _need(benchmark, folder / part.ids))
        ]
    else:
        images_folder = _need(benchmark, folder / part.source_images)
        masks_folder = _need(benchmark, folder / part.source_labels[0])
        images, masks = sources_by_key(images_folder, IMAGE_SUFFIX), _masks(benchmark, masks_folder)
        pairs = [
            SourcePair(
                key,
                images.get(key, images_folder / f"{key}{IMAGE_SUFFIX}"),
                masks.get(key, masks_folder / f"{key}.png"),
            )
            for key in images.keys() | masks.keys()
        ]
    if not pairs:
        raise DataError(
            f"{benchmark.id} has no image of split {part.name}",
            expected=f"{part.num_images} images below {folder / part.source_images}",
            found="none",
            mend=benchmark.instructions,
        )
    return sorted(_present(benchmark, pairs), key=lambda p: p.key)


def some(names: list[str], most: int = 3) -> str:
    """A few of ``names`` and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _present(benchmark: Benchmark, pairs: list[SourcePair]) -> list[SourcePair]:
    """``pairs`` with the files as they are spelled on disk; DataError naming those that are absent."""
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


def _masks(benchmark: Benchmark, folder: Path) -> dict[str, Path]:
    """Source masks by key, without those that mmsegmentation's scripts converted and left beside them."""
    every = sources_by_key(folder, ".png")
    masks = {key: path for key, path in every.items() if not key.endswith(_CONVERTED)}
    if every and not masks:
        raise DataError(
            f"{benchmark.id}: {folder} holds converted masks only",
            expected="the masks as distributed, KEY.png",
            found=f"{len(every)} files KEY{_CONVERTED}.png, such as {min(every)}.png",
            mend=benchmark.instructions,
        )
    return masks


def _context59_sources(benchmark: Benchmark, folder: Path, part: Split) -> list[SourcePair]:
    """Images of the phase ``part.name`` in trainval_merged.json, each with its annotations in file order."""
    path = _need(benchmark, folder / part.source_labels[0])
    mend = benchmark.instructions
    expected = "JSON with images (image_id, phase, file_name, height, width) and annos_segmentation"
    document = read_document(path, "the annotation file of PASCAL-Context", expected, mend)
    try:
        images = {d["image_id"]: d for d in document["images"] if d["phase"] == part.name}
        notes: dict[Any, list[Any]] = {key: [] for key in images}
        for annotation in document["annos_segmentation"]:
            if annotation["image_id"] in notes:
                notes[annotation["image_id"]].append(annotation)
        sources, pairs = folder / part.source_images, []
        for key, d in images.items():
            name = plain_name(d["file_name"], path, f"file_name of image {shown(key)}", mend)
            note = {"height": d["height"], "width": d["width"], "annotations": notes[key]}
            pairs.append(SourcePair(Path(name).stem, sources / name, path, note))
        return pairs
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not the annotation file of PASCAL-Context",
            expected=expected,
            found=f"{type(error).__name__}: {shown(error)}",
            mend=mend,
        ) from error


def _read_ids(benchmark: Benchmark, path: Path) -> list[str]:
    """The ids a list names, each once."""
    return list(dict.fromkeys(read_names(path, benchmark.instructions)))


def files_by_key(folder: Path, suffix: str) -> dict[str, Path]:
    """Files of a folder by name without ending; hidden and partial files do not count."""
    if not folder.is_dir():
        return {}
    if suffix == IMAGE_SUFFIX:
        return sources_by_key(folder, suffix)
    names = (entry.name for entry in os.scandir(folder))
    return {n[: -len(suffix)]: folder / n for n in names if n.endswith(suffix) and not n.startswith(".")}


def _need_folder(benchmark: Benchmark, data_root: Path) -> Path:
    return _need(benchmark, data_root / benchmark.folder)


def _need(benchmark: Benchmark, path: Path) -> Path:
    if not path.exists():
        raise DataError(
            f"{benchmark.id}: {path} is absent",
            expected="the set as its owners distribute it",
            found="nothing",
            mend=benchmark.instructions,
        )
    return path
