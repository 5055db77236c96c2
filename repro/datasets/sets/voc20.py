"""PASCAL VOC 2012, 20 classes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.data_set import VOID, DataSet, DrawnScene, OutsideVocabularyError, Split
from repro.datasets.vocabulary import load_vocabulary

BORDER = 255
"""The seam around an object."""


def to_label(mask: NDArray[np.uint8], background: int = VOID) -> NDArray[np.uint8]:
    """Return 1..20 as 0..19, 0 as ``background`` and the border (255) as 255. (H, W) -> (H, W)."""
    # Whole-array arithmetic modulo 256: with twenty classes a look-up table, one byte at a time, is slower.
    label: NDArray[np.uint8] = mask + np.uint8(1)  # border 255 -> 0, background 0 -> 1
    if label.max(initial=0) > 21:
        raise OutsideVocabularyError(int(mask[(mask > 20) & (mask < BORDER)].min()), "0..20 or 255 (border)")
    label -= np.uint8(2)  # border 254, background 255
    label += (mask == BORDER).view(np.uint8)
    if background != VOID:
        label += (mask == 0).view(np.uint8) * np.uint8(background + 1)
    return label


class Voc20(DataSet):
    """PASCAL VOC 2012, 20 classes. Background and border are ignored, images that show nothing else are dropped."""

    instructions = (
        "unpack VOC2012 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ there (and, for the augmented "
        "masks, SegmentationClassAug)"
    )
    first_rules = "bb9d7cb55049"
    unlabelled_values: ClassVar[tuple[int, ...]] = (0, 255)
    drawn = "voc"
    catalogue_names: ClassVar[Mapping[str, str]] = {"val": "voc_2012_test_sem_seg"}

    def mask_values(self) -> tuple[int, ...]:
        return (*range(21), BORDER)

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return to_label(mask)

    def drawn_key(self, index: int) -> str:
        return f"2012_{index + 1:06d}"

    def drawn_mask(self, scene: DrawnScene) -> NDArray[np.uint8]:
        """Return 0 background, 1..20 objects, 255 on the seam (both sides of the edge of every object)."""
        classes = scene.values(load_vocabulary("voc20").names, range(1, 21), 0).astype(np.uint8)
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

    def write_drawn(self, folder: Path, key: str, scene: DrawnScene, number: int) -> None:
        """Write the image and its mask, a PNG with VOC's palette."""
        from PIL import Image

        from repro.datasets.palettes import voc_palette
        from repro.datasets.writing import write_bytes, write_photograph

        write_photograph(folder / "JPEGImages" / f"{key}.jpg", scene.image)
        picture = Image.fromarray(self.drawn_mask(scene)).convert("P")
        picture.putpalette(voc_palette().ravel().tolist())
        stream = io.BytesIO()
        picture.save(stream, "PNG", compress_level=3)
        write_bytes(folder / "SegmentationClass" / f"{key}.png", stream.getvalue())


def voc_split(name: str, count: int, labels: str) -> Split:
    """Return the split that the list ``name`` of VOC names, its prepared labels below ``labels``."""
    return Split(
        name,
        count,
        "JPEGImages",
        ("SegmentationClassAug", "SegmentationClass"),
        labels=f"{labels}/{name}",
        ids=f"ImageSets/Segmentation/{name}.txt",
    )


DATA_SET = Voc20(
    id="PAS-20",
    title="PASCAL VOC 2012, 20 classes",
    vocabulary="voc20",
    num_images=1449,
    source="PASCAL VOC 2012, validation",
    folder="VOCdevkit/VOC2012",
    splits=(voc_split("val", 1449, "annotations_detectron2"), voc_split("train", 1464, "annotations_detectron2")),
)
