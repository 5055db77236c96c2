"""PASCAL VOC 2012, 20 classes and background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repro.datasets.sets.voc20 import Voc20, voc_split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Voc20b(Voc20):
    """PASCAL VOC 2012, 20 classes and background, from the masks of the 20 classes."""

    first_rules = "bb4b982a15f2"
    unlabelled_values = (255,)

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from repro.datasets.prepare import convert

        return convert.voc20b(mask)


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
    splits=(voc_split("val", 1449, "annotations_detectron2_bg"), voc_split("train", 1464, "annotations_detectron2_bg")),
)
