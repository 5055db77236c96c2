"""PASCAL-Context, 59 classes: the annotations of the Detail API, all in one file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.data_set import VOID, DataSet, DrawnScene, Split
from repro.datasets.listing import SourcePair, read_ids
from repro.datasets.prepare.rle import decode_indices, encode_mask
from repro.datasets.texts import plain_name, read_document, shown
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import DataError

FORM = "JSON with images (image_id, phase, file_name, height, width) and annos_segmentation"


@cache
def _table() -> NDArray[np.uint8]:
    ids = load_vocabulary("pc59").column("pascal_context_id")
    table = np.full(1024, VOID, np.uint8)
    table[list(ids)] = np.arange(len(ids))
    return table


def to_label(annotations: Sequence[Mapping[str, Any]], height: int, width: int) -> NDArray[np.uint8]:
    """Paint annotations in file order, later ones on top; ids outside the 59 classes become 255.

    An annotation has ``category_id`` and ``segmentation`` (COCO run lengths or polygons). Raises ValueError where a
    segmentation cannot be decoded to ``height`` x ``width`` pixels.
    """
    table = _table()
    # Run lengths go down the columns, so the picture is painted transposed and turned once at the end.
    flat = np.full(width * height, VOID, np.uint8)
    for annotation in annotations:
        category = int(annotation["category_id"])
        value = table[category] if 0 <= category < table.size else VOID
        flat[decode_indices(annotation["segmentation"], height, width)] = value
    return np.ascontiguousarray(flat.reshape(width, height).T)


class Context59(DataSet):
    """PASCAL-Context, 59 classes. The split is the ``phase`` of each image in the JSON file."""

    instructions = (
        "unpack VOC2010 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ there and add "
        "trainval_merged.json of the Detail API (https://codalabuser.blob.core.windows.net/public/trainval_merged.json)"
    )
    first_rules = "bd2dbc059f33"
    shared_annotations = True
    drawn = "context"
    catalogue_names: ClassVar[Mapping[str, str]] = {"val": "context_59_test_sem_seg"}

    def list_sources(self, folder: Path, part: Split) -> list[SourcePair]:
        """Return the images of the phase ``part.name``, each with its annotations in file order."""
        path = self.need(folder / part.source_labels[0])
        mend = self.instructions
        document = read_document(path, "the annotation file of PASCAL-Context", FORM, mend)
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
                expected=FORM,
                found=f"{type(error).__name__}: {shown(error)}",
                mend=mend,
            ) from error

    def listed_keys(self, folder: Path, part: Split) -> set[str] | None:
        """Return the keys of the list file beside the images: the big JSON file is not opened for names alone."""
        ids = folder / f"pascalcontext_{part.name}.txt"
        return set(read_ids(ids, self.instructions)) if ids.is_file() else None

    def read_source(self, source: SourcePair) -> NDArray[np.uint8]:
        note = source.note or {}
        try:
            return to_label(note["annotations"], int(note["height"]), int(note["width"]))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise DataError(
                f"{source.label}: the annotations of image {source.key} cannot be decoded",
                expected="COCO run lengths of the image's size",
                found=f"{type(error).__name__}: {shown(error)}",
                mend=f"fetch {source.label.name} again from its source",
            ) from error

    def write_sample(self, folder: Path, number: int, blocks: NDArray[np.int64]) -> tuple[Path, Any]:
        """Return overlapping masks of ids that are classes and of ids that are not, later ones on top."""
        height, width = blocks.shape
        categories = range(1, 460, 1 if blocks.size < 10_000 else 90)
        annotations = [{"category_id": c, "segmentation": encode_mask(blocks % 61 <= 40 - c % 37)} for c in categories]
        return folder / f"{number}-source.png", {"height": height, "width": width, "annotations": annotations}

    def drawn_key(self, index: int) -> str:
        return f"2010_{index + 1:06d}"

    def drawn_annotations(self, scene: DrawnScene, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
        """Return one annotation per thing and one per stuff class, as compressed run lengths.

        The ids are those of the 459 classes (label + 1). A concept outside the 59 keeps its own id, as in the real
        file, unless that id would make it one of the 59.
        """
        known = load_vocabulary("pc59")
        taken = known.column("pascal_context_id")
        frequent = scene.values(known.names, taken, 0)
        every = scene.values(load_vocabulary("pc459").names, range(1, 460), 0)
        categories = np.where(frequent > 0, frequent, np.where(np.isin(every, taken), 0, every)).astype(np.int64)
        regions = categories * (int(scene.instances.max()) + 1) + scene.instances
        found: list[dict[str, Any]] = []
        for region in np.unique(regions[categories > 0]):
            mask = regions == region
            found.append(
                {
                    "id": first_id + len(found),
                    "image_id": image_id,
                    "category_id": int(categories[mask][0]),
                    "segmentation": encode_mask(mask),
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                }
            )
        return found

    def write_drawn(self, folder: Path, key: str, scene: DrawnScene, number: int) -> dict[str, Any]:
        from repro.datasets.writing import write_photograph

        write_photograph(folder / "JPEGImages" / f"{key}.jpg", scene.image)
        height, width = scene.image.shape[:2]
        image = {"image_id": number, "file_name": f"{key}.jpg", "height": height, "width": width, "phase": "val"}
        return {"image": image, "annotations": self.drawn_annotations(scene, number)}

    def write_drawn_lists(self, folder: Path, keys: Iterable[str], notes: Sequence[Any]) -> None:
        from repro.files import write_text

        annotations = [annotation for note in notes for annotation in note["annotations"]]
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        names = load_vocabulary("pc459").names
        document = {
            "images": [note["image"] for note in notes],
            "annos_segmentation": annotations,
            "categories": [{"category_id": i, "name": name} for i, name in enumerate(names, start=1)],
        }
        write_text(folder / self.splits[0].source_labels[0], json.dumps(document))


def _split(name: str, count: int) -> Split:
    return Split(name, count, "JPEGImages", ("trainval_merged.json",), labels=f"annotations_detectron2/pc59_{name}")


DATA_SET = Context59(
    id="PC-59",
    title="PASCAL-Context, 59 classes",
    vocabulary="pc59",
    num_images=5104,
    source="PASCAL-Context on VOC 2010 (trainval_merged.json), validation",
    folder="VOCdevkit/VOC2010",
    splits=(_split("val", 5104), _split("train", 4998)),
)
