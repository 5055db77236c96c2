"""COCO-Stuff 164k, 171 classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.data_set import VOID, DataSet, DrawnScene, OutsideVocabularyError, Split
from repro.datasets.vocabulary import load_vocabulary

_IMPOSSIBLE = 254
"""What :func:`_table` gives a value that cannot occur: no class, and not the ignored label."""


@cache
def _table() -> NDArray[np.uint8]:
    table = np.full(256, _IMPOSSIBLE, np.uint8)
    values = load_vocabulary("coco_stuff171").column("stuffthingmaps_value")
    table[list(values)] = np.arange(len(values))
    table[VOID] = VOID
    return table


def fetching(images: str) -> str:
    """Say what is fetched for the images called ``images``; the masks of all lie in one archive."""
    return (
        f"unpack http://images.cocodataset.org/zips/{images}.zip into images/ and "
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip into "
        "annotations/ there"
    )


class CocoStuff(DataSet):
    """COCO-Stuff 164k, 171 classes."""

    instructions = fetching("train2017")
    first_rules = "f656db15736a"
    drawn = "train"
    catalogue_names: ClassVar[Mapping[str, str]] = {"train": "coco_2017_train_stuff_all_sem_seg"}

    def mask_values(self) -> tuple[int, ...]:
        return (*load_vocabulary("coco_stuff171").column("stuffthingmaps_value"), 255)

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the class index of each value of stuffthingmaps; 255 (unlabelled) stays. (H, W) -> (H, W).

        182..254 and the values of the eleven categories that were never annotated occur in no mask of the set.
        """
        import cv2

        label: NDArray[np.uint8] = cv2.LUT(mask, _table())  # numpy.take does the same more slowly
        if cv2.countNonZero(cv2.inRange(label, _IMPOSSIBLE, _IMPOSSIBLE)):  # two passes of one byte per pixel
            value = int(mask[label == _IMPOSSIBLE].max())
            cause = "these masks are probably numbered 1..182 with 0 for unlabelled, or were converted to 0..170 before"
            legal = "the values of stuffthingmaps, 0..181 without the eleven never annotated, or 255 (unlabelled)"
            raise OutsideVocabularyError(value, legal, cause if value <= 182 else "no mask of COCO-Stuff holds it")
        return label

    def check_classes(self, data_root: Path, part: Split, images: Mapping[int, int], count: int, mend: str) -> None:
        from repro.datasets.verify.numbering import check_numbering

        check_numbering(self, data_root, part, images, count, mend)

    def drawn_mask(self, scene: DrawnScene) -> NDArray[np.uint8]:
        known = load_vocabulary("coco_stuff171")
        return scene.values(known.names, known.column("stuffthingmaps_value"), VOID).astype(np.uint8)


def coco_split(name: str, folder: str, count: int, labels: str = "annotations_detectron2") -> Split:
    """Return the split whose images and stuffthingmaps lie in ``folder``, its prepared labels below ``labels``."""
    return Split(name, count, f"images/{folder}", (f"annotations/{folder}",), labels=f"{labels}/{folder}")


DATA_SET = CocoStuff(
    id="coco-stuff",
    title="COCO-Stuff 164k, 171 classes",
    vocabulary="coco_stuff171",
    num_images=118_287,
    source="COCO-Stuff 164k, train2017",
    folder="coco-stuff",
    splits=(coco_split("train", "train2017", 118_287), coco_split("val", "val2017", 5000)),
)
