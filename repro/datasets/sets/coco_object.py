"""COCO-Object: the 80 things of COCO and one background, on val2017.

The background is every pixel that no thing covers, unlabelled ones included, so no pixel is ignored. A method is asked
for the 171 words of COCO-Stuff and each of the 91 stuff words means background, as PAS-20b folds the stuff words of
PASCAL-Context; others set a threshold on the score instead, and their numbers compare with these only roughly. Labels
come from the stuffthingmaps, in which crowds are things, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.data_set import Split
from repro.datasets.sets.coco_stuff import CocoStuff, coco_split, fetching

NUM_THINGS = 80
"""The things are the first classes of coco_stuff171."""


class CocoObject(CocoStuff):
    """COCO val2017, 80 things and background."""

    instructions = fetching("val2017")
    drawn = ""
    catalogue_names: ClassVar[Mapping[str, str]] = {}

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return thing -> 0..79 and all else -> 80. (H, W) -> (H, W); refuses what the rule of COCO-Stuff refuses."""
        return np.minimum(super().convert_mask(mask), np.uint8(NUM_THINGS))

    def check_classes(self, data_root: Path, part: Split, images: Mapping[int, int], count: int, mend: str) -> None:
        """Check nothing: the official counts are of 171 classes."""


DATA_SET = CocoObject(
    id="COCO-Object",
    title="COCO val2017, 80 things and background",
    vocabulary="coco_object80",
    prompt_vocabulary="coco_stuff171",
    background_index=NUM_THINGS,
    num_images=5000,
    source="COCO-Stuff 164k (stuffthingmaps), val2017",
    folder="coco-stuff",
    splits=(coco_split("val", "val2017", 5000, "annotations_detectron2_object"),),
)
