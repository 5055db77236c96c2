"""The miniature's panoptic sets, as COCO and Mask2Former's preparation of ADE20K distribute theirs.

COCO's validation images are scenes of the training set's kind that nothing trains on; ADE20K's are those of A-150. Kept
apart from :mod:`repro.mini.synth`: what is trained and evaluated on the other sets does not depend on it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.panoptic import PANOPTIC, ids_to_colours, panoptic_vocabulary
from repro.datasets.registry import data_sets
from repro.datasets.vocabulary import load_vocabulary
from repro.datasets.writing import write_picture
from repro.files import read_json, write_json, write_text
from repro.hashing import digest
from repro.mini.catalogue import concept_labels
from repro.mini.synth import MiniSizes, draw_scene, picture_key

if TYPE_CHECKING:
    from repro.mini.scenes import Scene

COCO, ADE = "coco-panoptic", "ade-panoptic"
MARKER = "panoptic.json"
_UNSEEN = 500_000  # numbers of training pictures never come near it


@cache
def _labels(name: str) -> NDArray[np.int64]:
    """Return concept index -> index of the category in a panoptic set; -1 without one."""
    # Classes of ADE20K's panoptic form are those of A-150 under other spellings; COCO marks merged ones by an ending.
    names = load_vocabulary("ade150").names if name == ADE else panoptic_vocabulary(PANOPTIC[name].vocabulary).names
    return np.array(concept_labels([n.removesuffix("-merged") for n in names], -1))


def panoptic_segments(scene: Scene, name: str) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """Segment ids (H, W), 0 unlabelled, and what the JSON file of panoptic set ``name`` says of each.

    One segment an object of a thing category, one a stuff category; boxes hold all pixels, as in COCO.
    """
    known = panoptic_vocabulary(PANOPTIC[name].vocabulary)
    categories = np.take(_labels(name), scene.concepts)
    objects = np.where(np.array(known.things)[categories], scene.instances, 0)
    regions = np.where(categories < 0, -1, categories * (int(scene.instances.max()) + 1) + objects)
    ids, segments = np.zeros(regions.shape, np.int64), []
    for number, region in enumerate(np.unique(regions[regions >= 0]), start=1):
        mask = regions == region
        ids[mask] = number * 4099  # more than one byte of the colour is used
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        segments.append(
            {
                "id": number * 4099,
                "category_id": known.column("panoptic_id")[int(categories[mask][0])],
                "area": int(mask.sum()),
                "bbox": [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1],
                "iscrowd": 0,
            }
        )
    return ids, segments


def draw_panoptic_scene(seed: int, name: str, index: int, sizes: MiniSizes) -> tuple[str, Scene]:
    """Return file name (without ending) and scene of picture ``index`` of a panoptic set."""
    if name == ADE:
        return picture_key("ade", index), draw_scene(seed, "ade", index, sizes)
    return picture_key("train", _UNSEEN + index), draw_scene(seed, "train", _UNSEEN + index, sizes)


def synth_panoptic(root: Path, seed: int, sizes: MiniSizes, progress: Callable[[int, int], None] | None = None) -> None:
    """Write both panoptic sets into the miniature below ``root``, as many pictures each as A-150 has.

    Finished ones are left alone. ``progress`` is called with (pictures done, in all).
    """
    key = panoptic_key(seed, sizes)
    documents = [root / PANOPTIC[name].json_file for name in (COCO, ADE)]
    marker = root / MARKER
    if marker.is_file() and all(d.is_file() for d in documents) and read_json(marker).get("key") == key:
        return
    val = data_sets()["COCO-Stuff-val"]
    for number, name in enumerate((COCO, ADE)):
        source, images, annotations = PANOPTIC[name], [], []
        for index in range(sizes.ade):
            stem, scene = draw_panoptic_scene(seed, name, index, sizes)
            ids, segments = panoptic_segments(scene, name)
            write_picture(root / source.masks / f"{stem}.png", ids_to_colours(ids))
            if name == COCO:
                val.write_drawn(root / val.folder, stem, scene, index + 1)
            image_id: int | str = int(stem) if name == COCO else stem
            height, width = ids.shape
            images.append({"id": image_id, "file_name": f"{stem}.jpg", "height": height, "width": width})
            annotations.append({"image_id": image_id, "file_name": f"{stem}.png", "segments_info": segments})
            if progress:
                progress(number * sizes.ade + index + 1, 2 * sizes.ade)
        categories = [
            {"id": int(row["panoptic_id"]), "name": row["name"], "isthing": int(row["kind"] == "thing")}
            for row in panoptic_vocabulary(source.vocabulary).rows
        ]
        document = {"images": images, "annotations": annotations, "categories": categories}
        write_text(root / source.json_file, json.dumps(document))
    write_json(marker, {"key": key})


def panoptic_key(seed: int, sizes: MiniSizes) -> str:
    """Return what identifies the panoptic sets: seed and sizes."""
    return digest([seed, dataclasses.asdict(sizes)])
