"""The conversion rules as functions of arrays (docs/specs/benchmarks.md, "Conversion rules").

Each turns an annotation as distributed into a prepared label map, pixel-equal to what the official CAT-Seg scripts
write, in a fixed number of passes whatever the number of classes. Values the rule cannot mean raise
:class:`OutsideVocabularyError`; the caller knows the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.prepare.rle import decode_indices
from repro.datasets.vocabulary import load_vocabulary

Label = NDArray[np.uint8] | NDArray[np.uint16]

VOID = 255
VOID16 = 65535
ADE_SHORT_SIDE = 512


class OutsideVocabularyError(ValueError):
    """A source value that is neither a class nor unlabelled.

    ``legal`` says in words what is allowed, ``cause`` (or "") why the value is probably there.
    """

    def __init__(self, value: int, legal: str, cause: str = "") -> None:
        super().__init__(f"{value} (allowed: {legal})" + (f": {cause}" if cause else ""))
        self.value, self.legal, self.cause = value, legal, cause


def ade150(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A-150: label - 1 in uint8, so that 0 ("other") becomes 255. (H, W) -> (H, W)."""
    if mask.max(initial=0) > 150:
        raise OutsideVocabularyError(int(mask[mask > 150].min()), "0..150")
    return mask - np.uint8(1)


def _voc(mask: NDArray[np.uint8], background: int) -> NDArray[np.uint8]:
    # Whole-array arithmetic modulo 256: with twenty classes a look-up table, one byte at a time, is slower.
    label: NDArray[np.uint8] = mask + np.uint8(1)  # border 255 -> 0, background 0 -> 1
    if label.max(initial=0) > 21:
        raise OutsideVocabularyError(int(mask[(mask > 20) & (mask < VOID)].min()), "0..20 or 255 (border)")
    label -= np.uint8(2)  # border 254, background 255
    label += (mask == VOID).view(np.uint8)
    if background != VOID:
        label += (mask == 0).view(np.uint8) * np.uint8(background + 1)
    return label


def voc20(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """PAS-20: 1..20 -> 0..19; background (0) and border (255) -> 255. (H, W) -> (H, W)."""
    return _voc(mask, VOID)


def voc20b(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """PAS-20b: 1..20 -> 0..19; background (0) -> 20; border (255) -> 255. (H, W) -> (H, W)."""
    return _voc(mask, 20)


_IMPOSSIBLE = 254
"""What :func:`_coco_table` gives a value that cannot occur: no class, and not the ignored label."""


@cache
def _coco_table() -> NDArray[np.uint8]:
    table = np.full(256, _IMPOSSIBLE, np.uint8)
    values = load_vocabulary("coco_stuff171").column("stuffthingmaps_value")
    table[list(values)] = np.arange(len(values))
    table[VOID] = VOID
    return table


def coco_stuff(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """COCO-Stuff: stuffthingmaps value -> class index, 255 (unlabelled) -> 255. (H, W) -> (H, W).

    182..254 and the values of the eleven categories that were never annotated occur in no mask of the set.
    """
    import cv2

    label: NDArray[np.uint8] = cv2.LUT(mask, _coco_table())  # numpy.take does the same more slowly
    if cv2.countNonZero(cv2.inRange(label, _IMPOSSIBLE, _IMPOSSIBLE)):  # two passes of one byte a pixel
        value = int(mask[label == _IMPOSSIBLE].max())
        cause = "these masks are probably numbered 1..182 with 0 for unlabelled, or were converted to 0..170 before"
        legal = "the values of stuffthingmaps, 0..181 without the eleven never annotated, or 255 (unlabelled)"
        raise OutsideVocabularyError(value, legal, cause if value <= 182 else "no mask of COCO-Stuff holds it")
    return label


@cache
def _context_table() -> NDArray[np.uint8]:
    ids = load_vocabulary("pc59").column("pascal_context_id")
    table = np.full(1024, VOID, np.uint8)
    table[list(ids)] = np.arange(len(ids))
    return table


def context59(annotations: Sequence[Mapping[str, Any]], height: int, width: int) -> NDArray[np.uint8]:
    """PC-59: annotations painted in file order, later ones on top; ids outside the 59 classes -> 255.

    An annotation has ``category_id`` and ``segmentation`` (COCO run lengths or polygons). Raises ValueError where a
    segmentation cannot be decoded to ``height`` x ``width`` pixels.
    """
    table = _context_table()
    # Run lengths go down the columns, so the picture is painted transposed and turned once at the end.
    flat = np.full(width * height, VOID, np.uint8)
    for annotation in annotations:
        category = int(annotation["category_id"])
        value = table[category] if 0 <= category < table.size else VOID
        flat[decode_indices(annotation["segmentation"], height, width)] = value
    return np.ascontiguousarray(flat.reshape(width, height).T)


def context459(label_map: NDArray[Any]) -> NDArray[np.uint16]:
    """PC-459: ``LabelMap`` - 1 in uint16 (0, unlabelled, becomes 65535; all from 459 upwards is ignored)."""
    return label_map.astype(np.uint16) - np.uint16(1)


@cache
def _ade847_table() -> NDArray[np.uint16]:
    ids = load_vocabulary("ade847").column("ade20k_full_id")
    table = np.full(26 * 256, VOID16, np.uint16)
    table[list(ids)] = np.arange(len(ids))
    return table


def ade_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) after ADE20K-full images over 512 on the shorter side are brought down to it."""
    short, long = sorted((height, width))
    if short <= ADE_SHORT_SIDE:
        return height, width
    other = round(long / float(short) * ADE_SHORT_SIDE)
    return (ADE_SHORT_SIDE, other) if width >= height else (other, ADE_SHORT_SIDE)


def ade847(segmentation: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """A-847: ``*_seg.png`` (H, W, 3) -> class index by (R // 10) * 256 + G, others 65535, reduced to side 512."""
    import cv2

    height, width = ade_size(*segmentation.shape[:2])
    if (height, width) != segmentation.shape[:2]:
        # Nearest neighbours pick whole pixels, so reducing before decoding is the same and reads fewer of them.
        segmentation = cv2.resize(segmentation, (width, height), interpolation=cv2.INTER_NEAREST)
    ids = (segmentation[..., 0] // 10).astype(np.uint16) * np.uint16(256) + segmentation[..., 1]
    return np.take(_ade847_table(), ids)


def ade_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image (H, W[, 3]) that goes with :func:`ade847`: reduced to shorter side 512 by bilinear interpolation."""
    import cv2

    height, width = ade_size(*image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image
    resized: NDArray[np.uint8] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized
