"""PASCAL-Context, 459 classes."""

from __future__ import annotations

from repro.datasets.data_set import DataSet, Split


class Context459(DataSet):
    """PASCAL-Context, 459 classes."""

    instructions = (
        "unpack VOC2010 trainval from http://host.robots.ox.ac.uk/pascal/VOC/voc2010/ there and add trainval/*.mat and "
        "labels.txt from https://cs.stanford.edu/~roozbeh/pascal-context/"
    )
    first_rules = "ef28ab859907"


def _context459(name: str, count: int) -> Split:
    return Split(
        name,
        count,
        images="JPEGImages",
        labels=f"annotations_detectron2/pc459_{name}",
        source_images="JPEGImages",
        source_labels=("trainval",),
        ids=f"pascalcontext_{name}.txt",
    )


DATA_SET = Context459(
    id="PC-459",
    title="PASCAL-Context, 459 classes",
    vocabulary="pc459",
    prompt_vocabulary="pc459",
    ignore_label=459,
    background_index=None,
    num_images=5104,
    source="PASCAL-Context on VOC 2010, validation",
    rule="pc459",
    folder="VOCdevkit/VOC2010",
    label_suffix=".tif",
    splits=(_context459("val", 5104), _context459("train", 4998)),
)
