"""PASCAL-Context, 59 classes."""

from __future__ import annotations

from repro.datasets.data_set import DataSet, Split


class Context59(DataSet):
    """PASCAL-Context, 59 classes."""

    instructions = (
        "unpack VOC2010 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ there and add "
        "trainval_merged.json of the Detail API (https://codalabuser.blob.core.windows.net/public/trainval_merged.json)"
    )
    first_rules = "bd2dbc059f33"


def _context59(name: str, count: int) -> Split:
    # The split is the `phase` of each image in the JSON file; its list file is not needed.
    return Split(
        name,
        count,
        images="JPEGImages",
        labels=f"annotations_detectron2/pc59_{name}",
        source_images="JPEGImages",
        source_labels=("trainval_merged.json",),
    )


DATA_SET = Context59(
    id="PC-59",
    title="PASCAL-Context, 59 classes",
    vocabulary="pc59",
    prompt_vocabulary="pc59",
    ignore_label=255,
    background_index=None,
    num_images=5104,
    source="PASCAL-Context on VOC 2010 (trainval_merged.json), validation",
    rule="pc59",
    folder="VOCdevkit/VOC2010",
    label_suffix=".png",
    splits=(_context59("val", 5104), _context59("train", 4998)),
)
