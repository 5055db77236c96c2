"""COCO-Stuff 164k, 171 classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repro.datasets.data_set import DataSet, Split
from repro.datasets.vocabulary import load_vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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

    def mask_values(self) -> tuple[int, ...]:
        return (*load_vocabulary("coco_stuff171").column("stuffthingmaps_value"), 255)

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from repro.datasets.prepare import convert

        return convert.coco_stuff(mask)


def coco_split(name: str, folder: str, count: int, labels: str = "annotations_detectron2") -> Split:
    """Return the split whose images and stuffthingmaps lie in ``folder``, its prepared labels below ``labels``."""
    return Split(
        name,
        count,
        images=f"images/{folder}",
        labels=f"{labels}/{folder}",
        source_images=f"images/{folder}",
        source_labels=(f"annotations/{folder}",),
    )


DATA_SET = CocoStuff(
    id="coco-stuff",
    title="COCO-Stuff 164k, 171 classes",
    vocabulary="coco_stuff171",
    prompt_vocabulary="coco_stuff171",
    ignore_label=255,
    background_index=None,
    num_images=118_287,
    source="COCO-Stuff 164k, train2017",
    rule="coco-stuff",
    folder="coco-stuff",
    label_suffix=".png",
    splits=(coco_split("train", "train2017", 118_287), coco_split("val", "val2017", 5000)),
)
