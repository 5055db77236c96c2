"""Our data sets in detectron2's catalogue, and any data set of the catalogue as one of ours."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from repro.datasets.benchmarks import all_sets, get_benchmark
from repro.datasets.data_set import VOID, DataSet, Split
from repro.datasets.layout import Pair, prepared_pairs
from repro.datasets.listed import listed_set
from repro.errors import DataError, unknown_name
from repro.reports.figures.colours import class_colours

SET, SPLIT = "repro_set", "repro_split"
"""Facts of ours in the metadata and in the items of a data set."""
ROOT = "DETECTRON2_DATASETS"
_named: list[Path] = []


def use_data_root(folder: Path | str) -> None:
    """Look for our data sets below ``folder`` from now on, whatever ``DETECTRON2_DATASETS`` says."""
    _named[:] = [Path(folder)]


def catalogue_name(data_set: DataSet, split: Split) -> str:
    """Return what a split is called in the catalogue: as in CAT-Seg's code, else ``repro_<id>_<split>_sem_seg``."""
    own = f"repro_{data_set.id.lower().replace('-', '_')}_{split.name}_sem_seg"
    return data_set.catalogue_names.get(split.name, own)


def register() -> list[str]:
    """Register all splits of all data sets and return the names; those that other code has registered stay its own."""
    names = []
    for data_set in all_sets().values():
        for split in data_set.splits:
            name = catalogue_name(data_set, split)
            if name in DatasetCatalog.list():
                continue
            DatasetCatalog.register(name, partial(_items, data_set.id, split.name))
            classes = data_set.class_names()
            folded = data_set.background_index is not None
            MetadataCatalog.get(name).set(
                stuff_classes=list(classes),
                stuff_colors=class_colours(classes).tolist(),
                ignore_label=data_set.ignore_label,
                evaluator_type="sem_seg_background" if folded else "sem_seg",
                **{SET: data_set.id, SPLIT: split.name},
            )
            names.append(name)
    return names


def _items(set_id: str, split: str) -> list[dict[str, Any]]:
    """List a prepared split as detectron2 does; DataError where it is not prepared."""
    root = _named[0] if _named else Path(os.environ.get(ROOT, "datasets"))
    return [
        {"file_name": str(pair.image), "sem_seg_file_name": str(pair.label), SET: set_id}
        for pair in prepared_pairs(get_benchmark(set_id), root, split)
    ]


def data_set_of(name: str) -> DataSet:
    """Return the data set called ``name`` in the catalogue: ours where it is one of ours.

    UsageError for an unknown name, DataError for one without semantic labels.
    """
    if name not in DatasetCatalog.list():
        mend = "import the package that registers it first"
        raise unknown_name("data set of detectron2's catalogue", name, DatasetCatalog.list(), mend=mend)
    facts: Mapping[str, Any] = MetadataCatalog.get(name).as_dict()
    if SET in facts:
        return get_benchmark(facts[SET])
    names = tuple(map(str, facts.get("stuff_classes") or ()))
    ignored = int(facts.get("ignore_label", VOID))
    if not names or ignored < len(names):
        raise DataError(
            f"{name} has no labels for semantic segmentation that can be counted",
            expected="stuff_classes in its metadata, and an ignore_label that is none of them",
            found=f"{len(names)} stuff_classes, ignore_label {ignored}",
            mend="register its labels as class indices from 0, with an ignore_label of 255",
        )
    things = tuple(facts.get("thing_classes") or ())
    return listed_set(name, names, "detectron2's catalogue", images=len(DatasetCatalog.get(name)), ignored=ignored,
                      things=things)  # fmt: skip


def pairs_of(name: str) -> list[Pair]:
    """Return the images of a data set of the catalogue and their labels, sorted by key: the file's name.

    Files of one name in several folders are called by their folders too. DataError where an image has no label.
    """
    items: Sequence[Mapping[str, Any]] = DatasetCatalog.get(name)
    without = [str(item.get("file_name")) for item in items if not item.get("sem_seg_file_name")]
    if without or not items:
        raise DataError(
            f"{name} has no label for {len(without)} of {len(items)} images",
            expected="sem_seg_file_name of each",
            found=without[0] if without else "no image",
            mend="register the data set with its labels: detectron2.data.datasets.load_sem_seg",
        )
    images = [Path(item["file_name"]) for item in items]
    stems = Counter(path.stem for path in images)
    keys = [path.stem if stems[path.stem] == 1 else "-".join(path.with_suffix("").parts[1:]) for path in images]
    labels = [Path(item["sem_seg_file_name"]) for item in items]
    return sorted((Pair(*each) for each in zip(keys, images, labels, strict=True)), key=lambda pair: pair.key)
