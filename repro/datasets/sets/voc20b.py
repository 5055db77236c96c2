"""PASCAL VOC 2012, 20 classes and background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.sets.voc20 import Voc20, to_label, voc_split


class Voc20b(Voc20):
    """PASCAL VOC 2012, 20 classes and background, from the masks of the 20 classes."""

    first_rules = "bb4b982a15f2"
    unlabelled_values = (255,)
    drawn = ""
    catalogue_names: ClassVar[Mapping[str, str]] = {"val": "voc_2012_test_background_sem_seg"}

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return to_label(mask, background=20)


DATA_SET = Voc20b(
    id="PAS-20b",
    title="PASCAL VOC 2012, 20 classes and background",
    vocabulary="voc20",
    prompt_vocabulary="voc20b_prompts",
    background_index=20,
    num_images=1449,
    source="PASCAL VOC 2012, validation",
    folder="VOCdevkit/VOC2012",
    splits=(voc_split("val", 1449, "annotations_detectron2_bg"), voc_split("train", 1464, "annotations_detectron2_bg")),
)
