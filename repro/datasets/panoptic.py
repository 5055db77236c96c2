"""Panoptic sets in COCO's format: a JSON file of segments and, an image each, a PNG of segment ids.

An id is R + 256 G + 65536 B of a pixel's colour. Two sets serve the measures of CLIPSelf and DenseVLM: COCO panoptic
val2017 (80 things, 53 stuff) and the panoptic form of ADE20K's validation set (100 things, 50 stuff).
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets.contents import Contents, Progress
from repro.datasets.images import load_pillow
from repro.datasets.texts import plain_name, read_document, shown
from repro.datasets.vocabulary import Vocabulary
from repro.errors import DataError, known_as
from repro.hashing import digest

_KIND = "a panoptic annotation file"
_EXPECTED = "COCO's panoptic format: JSON of images, annotations with segments_info, categories with isthing"
_MEND = "name panoptic_val2017.json, whole and unpacked, not instances_val2017.json"
VOCABULARIES = Path(__file__).with_name("panoptic_vocab")


@dataclasses.dataclass(frozen=True)
class Segment:
    """One segment: its ``id`` in the PNG, the index of its category, and its ``box`` x, y, width, height in pixels."""

    id: int
    category: int
    box: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class PanopticImage:
    """An image, its PNG of segment ids, and its segments in the order of the file."""

    key: str
    image: Path
    mask: Path
    segments: tuple[Segment, ...]


@dataclasses.dataclass(frozen=True)
class PanopticSet:
    """``names`` and ``things`` of all categories by ascending id of the file, and the images in the file's order."""

    names: tuple[str, ...]
    things: tuple[bool, ...]
    images: tuple[PanopticImage, ...]


@dataclasses.dataclass(frozen=True)
class PanopticSource:
    """Where a panoptic set lies below the data root, and where it comes from."""

    id: str
    title: str
    vocabulary: str
    json_file: str
    masks: str
    images: str
    instructions: str

    def paths(self, data_root: Path) -> tuple[Path, Path, Path]:
        """Return JSON file, folder of PNGs and folder of images below ``data_root``."""
        return data_root / self.json_file, data_root / self.masks, data_root / self.images


PANOPTIC: dict[str, PanopticSource] = {
    "coco-panoptic": PanopticSource(
        "coco-panoptic",
        "COCO",
        "coco133",
        "coco-panoptic/annotations/panoptic_val2017.json",
        "coco-panoptic/annotations/panoptic_val2017",
        "coco-stuff/images/val2017",
        "unpack panoptic_annotations_trainval2017.zip of cocodataset.org, then its panoptic_val2017.zip, in "
        "coco-panoptic of the data root; images: val2017 in its coco-stuff/images",
    ),
    "ade-panoptic": PanopticSource(
        "ade-panoptic",
        "ADE20K",
        "ade150",
        "ADEChallengeData2016/ade20k_panoptic_val.json",
        "ADEChallengeData2016/ade20k_panoptic_val",
        "ADEChallengeData2016/images/validation",
        "run Mask2Former's datasets/prepare_ade20k_pan_seg.py on ADEChallengeData2016 of the data root",
    ),
}


def get_panoptic(name: str) -> PanopticSource:
    """Return the panoptic set called ``name``; UsageError with the nearest names otherwise."""
    return known_as("panoptic set", name, PANOPTIC, mend="correct panoptic in the file of the table")


def read_categories(path: Path) -> Vocabulary:
    """Return a list of categories (columns index, name, kind and others) in label order."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = tuple(csv.DictReader(stream))
    return Vocabulary(path.stem, tuple(row["name"] for row in rows), rows)


@cache
def panoptic_vocabulary(name: str) -> Vocabulary:
    """Return the categories of a panoptic set (``coco133``, ``ade150``), with their ids there (``panoptic_id``)."""
    return read_categories(VOCABULARIES / f"{name}.csv")


def read_panoptic(json_file: Path, masks: Path, images: Path) -> PanopticSet:
    """Read the JSON file of a panoptic set; PNGs and images are not opened.

    Raises DataError where the file is absent, is no panoptic JSON, or names a category or image it does not define.
    """
    if not json_file.is_file():
        raise DataError(f"panoptic annotations {json_file} are absent", expected="a JSON file", found="nothing")
    document = read_document(json_file, _KIND, _EXPECTED, _MEND)
    try:
        categories = sorted(document["categories"], key=lambda c: c["id"])
        index = {c["id"]: i for i, c in enumerate(categories)}
        files = {
            image["id"]: plain_name(image["file_name"], json_file, f"file_name of image {shown(image['id'])}", _MEND)
            for image in document["images"]
        }
        found = []
        for note in document["annotations"]:
            name = files[note["image_id"]]
            segments = tuple(
                Segment(int(s["id"]), index[s["category_id"]], _box(*map(float, s["bbox"])))
                for s in note["segments_info"]
            )
            place = f"file_name of the annotation of image {shown(note['image_id'])}"
            mask = Path(plain_name(note["file_name"], json_file, place, _MEND)).with_suffix(".png")
            found.append(PanopticImage(Path(name).stem, images / name, masks / mask, segments))
        names, things = tuple(c["name"] for c in categories), tuple(bool(c["isthing"]) for c in categories)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{json_file} is not {_KIND}",
            expected=_EXPECTED,
            found=f"{type(error).__name__}: {shown(error)}",
            mend=_MEND,
        ) from error
    return PanopticSet(names, things, tuple(found))


def _box(x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
    return x, y, width, height


def read_ids(path: Path) -> NDArray[np.int32]:
    """Return the segment ids (H, W) of a panoptic PNG; DataError unless it is whole and has three channels."""
    picture = np.asarray(load_pillow(path, "panoptic mask"))
    if picture.ndim != 3 or picture.shape[2] < 3 or picture.dtype != np.uint8:
        raise DataError(
            f"{path} is no panoptic mask", expected="RGB of 8 bits", found=f"{picture.shape}, {picture.dtype}"
        )
    red, green, blue = (picture[..., i].astype(np.int32) for i in range(3))
    return red + 256 * green + 65536 * blue


def ids_to_colours(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the RGB picture (H, W, 3) of segment ids (H, W): the inverse of :func:`read_ids`."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def panoptic_fingerprint(
    json_file: Path, masks: Path, images: Path, cache: Path | None = None, progress: Progress | None = None
) -> str:
    """Return sixteen hex digits over the annotations and the content of every image and mask they name.

    Files are read once and remembered below ``cache`` (:class:`.contents.Contents`).
    """
    files = [json_file]
    for item in read_panoptic(json_file, masks, images).images:
        for path in (item.image, item.mask):
            if not path.is_file():
                raise DataError(f"{path} is absent", expected=f"the file {json_file} names", found="nothing")
            files.append(path)
    name = f"{json_file.stem}-{digest(str(json_file.resolve()), 10)}.json"
    found = Contents(None if cache is None else cache / "contents" / name).digests(files, progress)
    state = hashlib.sha256(b"panoptic by content\n")
    for path, content in zip(files, found, strict=True):
        state.update(f"{path.name} {content}\n".encode())
    return state.hexdigest()[:16]
