"""Cityscapes, 19 classes: fine annotations of street scenes, below one folder per city.

Sources are ``*_gtFine_labelIds.png`` as in gtFine_trainvaltest.zip (34 ids, of which 19 are evaluated) or, where only
those are there, ``*_gtFine_labelTrainIds.png`` as the owners' createTrainIdLabelImgs makes them (0..18 and 255).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets.data_set import OWN, VOID, DataSet, DrawnScene, OutsideVocabularyError, Split
from repro.datasets.listing import SourcePair, images_below
from repro.datasets.vocabulary import load_vocabulary

IMAGE, IDS, TRAIN_IDS = "_leftImg8bit", "_gtFine_labelIds", "_gtFine_labelTrainIds"
"""What precedes the ending of an image, of a mask of ids, and of a mask of train ids."""
LAST_ID = 33


@cache
def _table() -> NDArray[np.uint8]:
    ids = load_vocabulary("cityscapes19").column("cityscapes_id")
    table = np.full(256, VOID, np.uint8)
    table[list(ids)] = np.arange(len(ids))
    return table


class Cityscapes(DataSet):
    """Cityscapes, 19 classes. Keys are CITY_SEQUENCE_FRAME."""

    instructions = (
        "register at https://www.cityscapes-dataset.com/ and unpack leftImg8bit_trainvaltest.zip and "
        "gtFine_trainvaltest.zip there"
    )
    image_suffix = ".png"
    drawn = OWN

    def image_files(self, folder: Path) -> dict[str, Path]:
        return _without(IMAGE, images_below(folder, self.image_suffix))

    def mask_files(self, folder: Path) -> dict[str, Path]:
        """Return masks of ids by key, and those of train ids where there are no ids."""
        files = images_below(folder, self.mask_suffix)
        return {**_without(TRAIN_IDS, files), **_without(IDS, files)}

    def mask_values(self) -> tuple[int, ...]:
        return tuple(range(LAST_ID + 1))

    def convert_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the train id of each id, 255 for those that are not evaluated. (H, W) -> (H, W)."""
        if mask.max(initial=0) > LAST_ID:
            legal = f"0..{LAST_ID}, the ids of *{IDS}.png"
            raise OutsideVocabularyError(int(mask[mask > LAST_ID].min()), legal)
        return np.take(_table(), mask)

    def read_source(self, source: SourcePair) -> NDArray[np.uint8]:
        from repro.datasets.images import read_mask

        mask = read_mask(source.label)
        if not source.label.stem.endswith(TRAIN_IDS):
            return self.convert_mask(mask)
        wrong = mask[(mask >= self.num_classes) & (mask != VOID)]
        if wrong.size:
            raise OutsideVocabularyError(int(wrong.min()), f"0..{self.num_classes - 1} or {VOID} in *{TRAIN_IDS}.png")
        return mask

    def drawn_key(self, index: int) -> str:
        return f"drawn_{index // 100:06d}_{index % 100:06d}"

    def drawn_mask(self, scene: DrawnScene) -> NDArray[np.uint8]:
        known = load_vocabulary("cityscapes19")
        return scene.values(known.names, known.column("cityscapes_id"), 0).astype(np.uint8)

    def write_drawn(self, folder: Path, key: str, scene: DrawnScene, number: int) -> None:
        from repro.datasets.writing import write_photograph, write_picture

        part, city = self.splits[0], key.partition("_")[0]
        write_photograph(folder / part.source_images / city / f"{key}{IMAGE}.png", scene.image)
        write_picture(folder / part.source_labels[0] / city / f"{key}{IDS}.png", self.drawn_mask(scene))


def _without(ending: str, files: dict[str, Path]) -> dict[str, Path]:
    """Return the files whose name ends with ``ending``, by what precedes it."""
    return {name.removesuffix(ending): path for name, path in files.items() if name.endswith(ending)}


def _split(name: str, count: int) -> Split:
    return Split(name, count, f"leftImg8bit/{name}", (f"gtFine/{name}",))


DATA_SET = Cityscapes(
    id="Cityscapes",
    title="Cityscapes, 19 classes",
    vocabulary="cityscapes19",
    num_images=500,
    source="Cityscapes (gtFine), validation",
    folder="cityscapes",
    splits=(_split("val", 500), _split("train", 2975)),
)
