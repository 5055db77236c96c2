"""Which files belong to a benchmark: the sources as distributed, and the prepared labels beside them.

The layout is the one the official repositories use (CAT-Seg's datasets/README), so that data prepared by their
scripts are found. Listing reads names, never pixels.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repro.benchmarks.downloads import DOWNLOADS
from repro.benchmarks.marker import read_marker, rules_digest
from repro.benchmarks.spec import Benchmark, Split
from repro.errors import DataError

IMAGE_SUFFIX = ".jpg"


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


def prepare_command(benchmark: Benchmark, data_root: Path, split: Split | None = None) -> str:
    """The command that prepares a set (and a split, where it is not the set's own)."""
    extra = f" --split {split.name}" if split is not None and split != benchmark.splits[0] else ""
    return f"repro data prepare {benchmark.id} --data-root {data_root}{extra}"


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
            mend=mend if benchmark.resized_images else DOWNLOADS[benchmark.id].instructions,
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
        return set(_read_ids(folder / part.ids)) if (folder / part.ids).is_file() else None
    if benchmark.rule == "pc59":
        ids = folder / f"pascalcontext_{part.name}.txt"
        return set(_read_ids(ids)) if ids.is_file() else None
    if benchmark.rule == "ade847":
        return set(_walk_ade(folder / part.source_images)) or None
    return set(files_by_key(folder / part.source_images, IMAGE_SUFFIX)) or None


def unlabelled(benchmark: Benchmark, data_root: Path, part: Split, keys: Iterable[str]) -> set[str]:
    """Those of ``keys`` whose source mask has no labelled pixel, which PAS-20 drops. Reads the masks."""
    if benchmark.rule not in ("voc20", "voc20b"):
        return set()
    from repro.benchmarks.images import read_label

    void = {0, 255} if benchmark.rule == "voc20" else {255}
    found = set()
    for key in keys:
        mask = _first_file(data_root / benchmark.folder, part.source_labels, f"{key}.png")
        if mask.is_file() and set(read_label(mask).ravel().tolist()) <= void:
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
        images = _walk_ade(_need(benchmark, folder / part.source_images))
        pairs = [SourcePair(k, image, image.with_name(f"{k}_seg.png")) for k, image in images.items()]
    elif part.ids:
        suffix = ".mat" if benchmark.rule == "pc459" else ".png"
        images_folder = _need(benchmark, folder / part.source_images)
        pairs = [
            SourcePair(
                key, images_folder / f"{key}{IMAGE_SUFFIX}", _first_file(folder, part.source_labels, key + suffix)
            )
            for key in _read_ids(_need(benchmark, folder / part.ids))
        ]
    else:
        images = files_by_key(_need(benchmark, folder / part.source_images), IMAGE_SUFFIX)
        masks = files_by_key(_need(benchmark, folder / part.source_labels[0]), ".png")
        default = folder / part.source_labels[0]
        pairs = [
            SourcePair(
                key,
                images.get(key, folder / part.source_images / f"{key}{IMAGE_SUFFIX}"),
                masks.get(key, default / f"{key}.png"),
            )
            for key in images.keys() | masks.keys()
        ]
    if not pairs:
        raise DataError(
            f"{benchmark.id} has no image of split {part.name}",
            expected=f"{part.num_images} images below {folder / part.source_images}",
            found="none",
            mend=DOWNLOADS[benchmark.id].instructions,
        )
    _check_present(benchmark, pairs)
    return sorted(pairs, key=lambda p: p.key)


def some(names: list[str], most: int = 3) -> str:
    """A few of ``names`` and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _check_present(benchmark: Benchmark, pairs: list[SourcePair]) -> None:
    present: dict[Path, set[str]] = {}
    for what in ("image", "annotation"):
        absent = []
        for pair in pairs:
            path = pair.image if what == "image" else pair.label
            if path.parent not in present:
                present[path.parent] = {e.name for e in os.scandir(path.parent)} if path.parent.is_dir() else set()
            if path.name not in present[path.parent]:
                absent.append(str(path))
        if absent:
            raise DataError(
                f"{benchmark.id}: {len(absent)} of {len(pairs)} {what}s are absent",
                expected=f"one for each of {len(pairs)} listed images",
                found=f"no {some(sorted(absent))}",
                mend=DOWNLOADS[benchmark.id].instructions,
            )


def _context59_sources(benchmark: Benchmark, folder: Path, part: Split) -> list[SourcePair]:
    """Images of the phase ``part.name`` in trainval_merged.json, each with its annotations in file order."""
    path = _need(benchmark, folder / part.source_labels[0])
    try:
        with path.open(encoding="utf-8") as stream:
            document = json.load(stream)
        images = {d["image_id"]: d for d in document["images"] if d["phase"] == part.name}
        notes: dict[Any, list[Any]] = {key: [] for key in images}
        for annotation in document["annos_segmentation"]:
            if annotation["image_id"] in notes:
                notes[annotation["image_id"]].append(annotation)
        sources = folder / part.source_images
        return [
            SourcePair(
                Path(d["file_name"]).stem,
                sources / Path(d["file_name"]).name,
                path,
                {"height": d["height"], "width": d["width"], "annotations": notes[key]},
            )
            for key, d in images.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is not the annotation file of PASCAL-Context",
            expected="JSON with images (image_id, phase, file_name, height, width) and annos_segmentation",
            found=repr(error),
            mend=DOWNLOADS[benchmark.id].instructions,
        ) from error


def _walk_ade(folder: Path) -> dict[str, Path]:
    """Images by key below images/ADE/<split>/<category>/<scene>; the index pickle is never needed."""
    return {p.stem: p for p in sorted(folder.rglob(f"ADE_*{IMAGE_SUFFIX}"))}


def _read_ids(path: Path) -> list[str]:
    """The ids a list names, each once."""
    return list(dict.fromkeys(path.read_text(encoding="utf-8").split()))


def files_by_key(folder: Path, suffix: str) -> dict[str, Path]:
    """Files of a folder by name without ending; hidden and partial files do not count."""
    if not folder.is_dir():
        return {}
    names = (entry.name for entry in os.scandir(folder))
    return {n[: -len(suffix)]: folder / n for n in names if n.endswith(suffix) and not n.startswith(".")}


def _first_file(folder: Path, alternatives: tuple[str, ...], name: str) -> Path:
    """``name`` in the first of the folders that has it; where none has, its place in the last."""
    paths = [folder / a / name for a in alternatives]
    return next((p for p in paths if p.is_file()), paths[-1])


def _need_folder(benchmark: Benchmark, data_root: Path) -> Path:
    return _need(benchmark, data_root / benchmark.folder)


def _need(benchmark: Benchmark, path: Path) -> Path:
    if not path.exists():
        raise DataError(
            f"{benchmark.id}: {path} is absent",
            expected="the set as its owners distribute it",
            found="nothing",
            mend=DOWNLOADS[benchmark.id].instructions,
        )
    return path
