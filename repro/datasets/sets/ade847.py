"""ADE20K, all 847 classes. Images and labels are reduced to a shorter side of 512, as the official script does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from repro.datasets.data_set import VOID16, DataSet, DrawnScene, Split
from repro.datasets.listing import SourcePair, images_below
from repro.datasets.vocabulary import load_vocabulary

SHORT_SIDE = 512


@cache
def _table() -> NDArray[np.uint16]:
    ids = load_vocabulary("ade847").column("ade20k_full_id")
    table = np.full(26 * 256, VOID16, np.uint16)
    table[list(ids)] = np.arange(len(ids))
    return table


def reduced_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) after images over 512 on the shorter side are brought down to it."""
    short, long = sorted((height, width))
    if short <= SHORT_SIDE:
        return height, width
    other = round(long / float(short) * SHORT_SIDE)
    return (SHORT_SIDE, other) if width >= height else (other, SHORT_SIDE)


def to_label(segmentation: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return class indices of ``*_seg.png`` (H, W, 3) by (R // 10) * 256 + G, others 65535, reduced to side 512."""
    import cv2

    height, width = reduced_size(*segmentation.shape[:2])
    if (height, width) != segmentation.shape[:2]:
        # Nearest neighbours pick whole pixels, so reducing before decoding is the same and reads fewer of them.
        segmentation = cv2.resize(segmentation, (width, height), interpolation=cv2.INTER_NEAREST)
    ids = (segmentation[..., 0] // 10).astype(np.uint16) * np.uint16(256) + segmentation[..., 1]
    return np.take(_table(), ids)


class Ade847(DataSet):
    """ADE20K, all 847 classes: ``*_seg.png`` lies beside each image, below folders of categories and scenes."""

    instructions = "register at https://groups.csail.mit.edu/vision/datasets/ADE20K/ and unpack ADE20K_2021_17_01 there"
    first_rules = "35a76c8a027d"
    drawn = "ade"
    catalogue_names: ClassVar[Mapping[str, str]] = {"val": "ade20k_full_sem_seg_freq_val_all"}

    def category_ids(self) -> tuple[int, ...]:
        return load_vocabulary(self.vocabulary).column("ade20k_full_id")

    def list_sources(self, folder: Path, part: Split) -> list[SourcePair]:
        images = self._images(self.need(folder / part.source_images))
        return [SourcePair(key, image, image.with_name(f"{key}_seg.png")) for key, image in images.items()]

    def listed_keys(self, folder: Path, part: Split) -> set[str] | None:
        return set(self._images(folder / part.source_images)) or None

    def _images(self, folder: Path) -> dict[str, Path]:
        """Return images by key; the index pickle is never needed."""
        found = images_below(folder, self.image_suffix)
        return {key: path for key, path in found.items() if key.startswith("ADE_")}

    def read_source(self, source: SourcePair) -> NDArray[np.uint16]:
        from repro.datasets.images import read_mask

        return to_label(read_mask(source.label, channels=3)[..., :3])

    def prepared_size(self, height: int, width: int) -> tuple[int, int]:
        return reduced_size(height, width)

    def prepared_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image reduced to a shorter side of 512 by bilinear interpolation."""
        import cv2

        height, width = reduced_size(*image.shape[:2])
        if (height, width) == image.shape[:2]:
            return image
        resized: NDArray[np.uint8] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return resized

    def write_sample(self, folder: Path, number: int, blocks: NDArray[np.int64]) -> tuple[Path, Any]:
        from repro.datasets.writing import write_picture

        planes = (blocks // 256 % 14 * 10 + blocks % 10, blocks % 256, blocks % 7)
        path = folder / f"{number}-source.png"
        write_picture(path, np.stack(planes, axis=-1).astype(np.uint8))
        return path, None

    def drawn_mask(self, scene: DrawnScene) -> NDArray[np.uint8]:
        """Return (H, W, 3) as ``*_seg.png``: class id (R // 10) * 256 + G, instance number in B; id 0 unlabelled."""
        known = load_vocabulary("ade847")
        ids = scene.values(known.names, known.column("ade20k_full_id"), 0)
        return np.stack([ids // 256 * 10, ids % 256, scene.instances % 256], axis=-1).astype(np.uint8)

    def write_drawn(self, folder: Path, key: str, scene: DrawnScene, number: int) -> None:
        from repro.datasets.writing import write_photograph, write_picture

        place = folder / self.splits[0].source_images / "generated" / scene.setting.replace(" ", "_")
        write_photograph(place / f"{key}.jpg", scene.image)
        write_picture(place / f"{key}_seg.png", self.drawn_mask(scene))


def _split(name: str, folder: str, count: int) -> Split:
    return Split(name, count, f"images/ADE/{folder}", (f"images/ADE/{folder}",), images=f"images_detectron2/{folder}")


DATA_SET = Ade847(
    id="A-847",
    title="ADE20K, all 847 classes",
    vocabulary="ade847",
    ignore_label=65535,
    num_images=2000,
    source="ADE20K_2021_17_01 (CSAIL), validation",
    folder="ADE20K_2021_17_01",
    label_suffix=".tif",
    splits=(_split("val", "validation", 2000), _split("train", "training", 25574)),
    resized_images=True,
)
