"""Scenes of the miniature in the formats in which the owners of each set distribute their annotations.

The values written are those of the source (stuffthingmaps ids, R and G codes, run lengths, LabelMap), never the
prepared ones, so that the same preparation runs on the miniature as on the real sets. A concept outside a set's
vocabulary gets the value that set uses for unlabelled.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.benchmarks.prepare.formats import write_bytes, write_picture
from repro.benchmarks.prepare.rle import encode_mask
from repro.benchmarks.vocabulary import load_vocabulary
from repro.data.mini.catalogue import concept_labels
from repro.data.mini.scenes import Scene

JPEG_QUALITY = 95
BORDER = 255
"""VOC's value for the seam around an object."""


@cache
def _table(vocabulary: str, column: str | None, shift: int, unlabelled: int) -> NDArray[np.uint16]:
    """Concept index -> source value: the data file's ``column``, or the label plus ``shift`` where there is none."""
    known = load_vocabulary(vocabulary)
    values = known.column(column) if column else tuple(i + shift for i in range(len(known)))
    labels = concept_labels(known.names, -1)
    return np.array([unlabelled if label < 0 else values[label] for label in labels], np.uint16)


def coco_mask(scene: Scene) -> NDArray[np.uint8]:
    """(H, W) stuffthingmaps values; 255 unlabelled."""
    return np.take(_table("coco_stuff171", "stuffthingmaps_value", 0, 255), scene.concepts).astype(np.uint8)


def ade150_mask(scene: Scene) -> NDArray[np.uint8]:
    """(H, W) 1..150; 0 other."""
    return np.take(_table("ade150", None, 1, 0), scene.concepts).astype(np.uint8)


def ade847_segmentation(scene: Scene) -> NDArray[np.uint8]:
    """(H, W, 3) as ``*_seg.png``: class id (R // 10) * 256 + G, instance number in B; id 0 unlabelled."""
    ids = np.take(_table("ade847", "ade20k_full_id", 0, 0), scene.concepts)
    return np.stack([ids // 256 * 10, ids % 256, scene.instances % 256], axis=-1).astype(np.uint8)


def voc_mask(scene: Scene) -> NDArray[np.uint8]:
    """(H, W) 0 background, 1..20 objects, 255 on the seam: pixels that touch another instance, one of them an object."""
    classes = np.take(_table("voc20", None, 1, 0), scene.concepts).astype(np.uint8)
    # Stuff and things outside VOC are background: their seams among themselves do not show.
    instances = np.where(classes > 0, scene.instances.astype(np.int32) + 1, 0)
    seam = np.zeros(classes.shape, bool)
    for axis in (0, 1):
        differ = np.diff(instances, axis=axis) != 0
        first, second = (slice(None, -1), slice(1, None))
        seam[first if axis == 0 else (slice(None), first)] |= differ
        seam[second if axis == 0 else (slice(None), second)] |= differ
    classes[seam] = BORDER
    return classes


def context459_map(scene: Scene) -> NDArray[np.uint16]:
    """(H, W) LabelMap: class + 1; 0 unlabelled."""
    return np.take(_table("pc459", None, 1, 0), scene.concepts)


@cache
def _context_categories() -> NDArray[np.uint16]:
    """Concept index -> category id of trainval_merged.json; 0 without one.

    The ids are those of the 459 classes (label + 1). A concept outside the 59 keeps its own id, as in the real file,
    unless that id would make it one of the 59.
    """
    frequent = _table("pc59", "pascal_context_id", 0, 0)
    every = _table("pc459", None, 1, 0)
    taken = load_vocabulary("pc59").column("pascal_context_id")
    return np.where(frequent > 0, frequent, np.where(np.isin(every, taken), 0, every)).astype(np.uint16)


def context59_annotations(scene: Scene, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
    """Annotations of trainval_merged.json: one a thing instance, one a stuff class, as compressed run lengths."""
    categories = np.take(_context_categories(), scene.concepts).astype(np.int64)
    regions = categories * (int(scene.instances.max()) + 1) + scene.instances
    found = []
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


def write_coco(root: Path, key: str, scene: Scene) -> None:
    """coco-stuff/{images,annotations}/train2017."""
    folder = root / "coco-stuff"
    _write_image(folder / "images" / "train2017" / f"{key}.jpg", scene)
    write_picture(folder / "annotations" / "train2017" / f"{key}.png", coco_mask(scene))


def write_ade(root: Path, key: str, scene: Scene, place: str) -> None:
    """Both ADE20K sets: ADEChallengeData2016 and ADE20K_2021_17_01/images/ADE/validation/<place>."""
    folder = root / "ADEChallengeData2016"
    _write_image(folder / "images" / "validation" / f"{key}.jpg", scene)
    write_picture(folder / "annotations" / "validation" / f"{key}.png", ade150_mask(scene))
    full = root / "ADE20K_2021_17_01" / "images" / "ADE" / "validation" / place
    _write_image(full / f"{key}.jpg", scene)
    write_picture(full / f"{key}_seg.png", ade847_segmentation(scene))


def write_context(root: Path, key: str, scene: Scene, image_id: int) -> dict[str, Any]:
    """VOCdevkit/VOC2010 except the shared files; returns what trainval_merged.json says of this image."""
    from scipy.io import savemat

    folder = root / "VOCdevkit" / "VOC2010"
    _write_image(folder / "JPEGImages" / f"{key}.jpg", scene)
    stream = io.BytesIO()
    savemat(stream, {"LabelMap": context459_map(scene)}, do_compression=True)
    write_bytes(folder / "trainval" / f"{key}.mat", stream.getvalue())
    height, width = scene.concepts.shape
    image = {"image_id": image_id, "file_name": f"{key}.jpg", "height": height, "width": width, "phase": "val"}
    return {"image": image, "annotations": context59_annotations(scene, image_id)}


def context_files(keys: list[str], notes: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The shared files of VOC2010: list file, labels.txt, and the JSON document of all ``notes`` of write_context."""
    annotations = [annotation for note in notes for annotation in note["annotations"]]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    names = load_vocabulary("pc459").names
    return {
        "pascalcontext_val.txt": "".join(f"{key}\n" for key in keys),
        "labels.txt": "".join(f"{i}: {name}\n" for i, name in enumerate(names, start=1)),
        "trainval_merged.json": {
            "images": [note["image"] for note in notes],
            "annos_segmentation": annotations,
            "categories": [{"category_id": i, "name": name} for i, name in enumerate(names, start=1)],
        },
    }


def write_voc(root: Path, key: str, scene: Scene) -> None:
    """VOCdevkit/VOC2012/{JPEGImages,SegmentationClass}; the mask is a palette PNG."""
    folder = root / "VOCdevkit" / "VOC2012"
    _write_image(folder / "JPEGImages" / f"{key}.jpg", scene)
    picture = Image.fromarray(voc_mask(scene)).convert("P")
    picture.putpalette(voc_palette().ravel().tolist())
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    write_bytes(folder / "SegmentationClass" / f"{key}.png", stream.getvalue())


@cache
def voc_palette() -> NDArray[np.uint8]:
    """(256, 3) VOC's colours: bits 0, 3, 6 of the value, highest first, give red; 1, 4, 7 green; 2, 5 blue."""
    values = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        colours[:, bit % 3] |= ((values >> bit) & 1) << (7 - bit // 3)
    return colours.astype(np.uint8)


def _write_image(path: Path, scene: Scene) -> None:
    write_picture(path, scene.image, quality=JPEG_QUALITY)
