"""ADE20K, 150 classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repro.datasets.data_set import DataSet, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Ade150(DataSet):
    """ADE20K, 150 classes."""

    instructions = "unpack http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip there"
    first_rules = "788802194c52"

    def mask_values(self) -> tuple[int, ...]:
        return tuple(range(151))

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        from repro.datasets.prepare import convert

        return convert.ade150(mask)


def _ade150(name: str, folder: str, count: int) -> Split:
    return Split(
        name,
        count,
        images=f"images/{folder}",
        labels=f"annotations_detectron2/{folder}",
        source_images=f"images/{folder}",
        source_labels=(f"annotations/{folder}",),
    )


DATA_SET = Ade150(
    id="A-150",
    title="ADE20K, 150 classes",
    vocabulary="ade150",
    prompt_vocabulary="ade150",
    ignore_label=255,
    background_index=None,
    num_images=2000,
    source="ADEChallengeData2016 (CSAIL), validation",
    rule="ade150",
    folder="ADEChallengeData2016",
    label_suffix=".png",
    splits=(_ade150("val", "validation", 2000), _ade150("train", "training", 20210)),
)
