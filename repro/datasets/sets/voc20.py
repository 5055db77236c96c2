"""PASCAL VOC 2012, 20 classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from repro.datasets.data_set import DataSet, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Voc20(DataSet):
    """PASCAL VOC 2012, 20 classes."""

    instructions = (
        "unpack VOC2012 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ there (and, for the augmented "
        "masks, SegmentationClassAug)"
    )
    first_rules = "bb9d7cb55049"
    unlabelled_values: ClassVar[tuple[int, ...]] = (0, 255)

    def mask_values(self) -> tuple[int, ...]:
        return (*range(21), 255)

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from repro.datasets.prepare import convert

        return convert.voc20(mask)


def voc_split(name: str, count: int, labels: str) -> Split:
    """Return the split that the list ``name`` of VOC names, its prepared labels below ``labels``."""
    return Split(
        name,
        count,
        images="JPEGImages",
        labels=f"{labels}/{name}",
        source_images="JPEGImages",
        source_labels=("SegmentationClassAug", "SegmentationClass"),
        ids=f"ImageSets/Segmentation/{name}.txt",
    )


DATA_SET = Voc20(
    id="PAS-20",
    title="PASCAL VOC 2012, 20 classes",
    vocabulary="voc20",
    prompt_vocabulary="voc20",
    ignore_label=255,
    background_index=None,
    num_images=1449,
    source="PASCAL VOC 2012, validation",
    rule="voc20",
    folder="VOCdevkit/VOC2012",
    label_suffix=".png",
    splits=(voc_split("val", 1449, "annotations_detectron2"), voc_split("train", 1464, "annotations_detectron2")),
)
