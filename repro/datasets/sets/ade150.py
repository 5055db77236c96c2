"""ADE20K, 150 classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.data_set import DataSet, DrawnScene, OutsideVocabularyError, Split
from repro.datasets.vocabulary import load_vocabulary


class Ade150(DataSet):
    """ADE20K, 150 classes. Source masks hold 1..150 and 0 for "other"."""

    instructions = "unpack http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip there"
    first_rules = "788802194c52"
    drawn = "ade"
    catalogue_names: ClassVar[Mapping[str, str]] = {"val": "ade20k_150_test_sem_seg"}

    def mask_values(self) -> tuple[int, ...]:
        return tuple(range(151))

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return label - 1 in uint8, so that 0 becomes 255. (H, W) -> (H, W)."""
        if mask.max(initial=0) > 150:
            raise OutsideVocabularyError(int(mask[mask > 150].min()), "0..150")
        return mask - np.uint8(1)

    def drawn_key(self, index: int) -> str:
        return f"ADE_val_{index + 1:08d}"

    def drawn_mask(self, scene: DrawnScene) -> NDArray[np.uint8]:
        return scene.values(load_vocabulary("ade150").names, range(1, 151), 0).astype(np.uint8)


def _split(name: str, folder: str, count: int) -> Split:
    return Split(name, count, f"images/{folder}", (f"annotations/{folder}",))


DATA_SET = Ade150(
    id="A-150",
    title="ADE20K, 150 classes",
    vocabulary="ade150",
    num_images=2000,
    source="ADEChallengeData2016 (CSAIL), validation",
    folder="ADEChallengeData2016",
    splits=(_split("val", "validation", 2000), _split("train", "training", 20210)),
)
