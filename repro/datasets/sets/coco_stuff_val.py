"""COCO-Stuff 164k as a benchmark: the 5,000 images of val2017, which the training set of the same name leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from repro.datasets.sets.coco_stuff import CocoStuff, coco_split, fetching


class CocoStuffVal(CocoStuff):
    """COCO-Stuff val2017, 171 classes. Its labels are those of split ``val`` of coco-stuff, in the same folder."""

    instructions = fetching("val2017")
    drawn = ""  # with the panoptic sets, whose images these are
    catalogue_names: ClassVar[Mapping[str, str]] = {"val": "coco_2017_test_stuff_all_sem_seg"}


DATA_SET = CocoStuffVal(
    id="COCO-Stuff-val",  # ids are case-blind: "COCO-Stuff" is the training set
    title="COCO-Stuff 164k val2017, 171 classes",
    vocabulary="coco_stuff171",
    num_images=5000,
    source="COCO-Stuff 164k, val2017",
    folder="coco-stuff",
    splits=(coco_split("val", "val2017", 5000),),
)
