"""PASCAL VOC 2012, 20 classes and background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repro.datasets.data_set import DataSet, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Voc20b(DataSet):
    """PASCAL VOC 2012, 20 classes and background."""

    instructions = (
        "unpack VOC2012 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ there (and, for the augmented "
        "masks, SegmentationClassAug)"
    )
    first_rules = "bb4b982a15f2"
    unlabelled_values = (255,)

    def mask_values(self) -> tuple[int, ...]:
        return (*range(21), 255)

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from repro.benchmarks.prepare import convert

        return convert.voc20b(mask)


def _voc(name: str, count: int, labels: str) -> Split:
    return Split(
        name,
        count,
        images="JPEGImages",
        labels=f"{labels}/{name}",
        source_images="JPEGImages",
        source_labels=("SegmentationClassAug", "SegmentationClass"),
        ids=f"ImageSets/Segmentation/{name}.txt",
    )


DATA_SET = Voc20b(
    id="PAS-20b",
    title="PASCAL VOC 2012, 20 classes and background",
    vocabulary="voc20",
    prompt_vocabulary="voc20b_prompts",
    ignore_label=255,
    background_index=20,
    num_images=1449,
    source="PASCAL VOC 2012, validation",
    rule="voc20b",
    folder="VOCdevkit/VOC2012",
    label_suffix=".png",
    splits=(_voc("val", 1449, "annotations_detectron2_bg"), _voc("train", 1464, "annotations_detectron2_bg")),
)
