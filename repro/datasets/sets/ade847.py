"""ADE20K, all 847 classes."""

from __future__ import annotations

from repro.datasets.data_set import DataSet, Split


class Ade847(DataSet):
    """ADE20K, all 847 classes."""

    instructions = "register at https://groups.csail.mit.edu/vision/datasets/ADE20K/ and unpack ADE20K_2021_17_01 there"
    first_rules = "35a76c8a027d"


def _ade847(name: str, folder: str, count: int) -> Split:
    return Split(
        name,
        count,
        images=f"images_detectron2/{folder}",
        labels=f"annotations_detectron2/{folder}",
        source_images=f"images/ADE/{folder}",
        source_labels=(f"images/ADE/{folder}",),
    )


DATA_SET = Ade847(
    id="A-847",
    title="ADE20K, all 847 classes",
    vocabulary="ade847",
    prompt_vocabulary="ade847",
    ignore_label=65535,
    background_index=None,
    num_images=2000,
    source="ADE20K_2021_17_01 (CSAIL), validation",
    rule="ade847",
    folder="ADE20K_2021_17_01",
    label_suffix=".tif",
    splits=(_ade847("val", "validation", 2000), _ade847("train", "training", 25574)),
    resized_images=True,
)
