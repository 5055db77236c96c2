"""COCO's run lengths and polygons, decoded and encoded with numpy alone.

A mask is read down its columns; the runs alternate between background and object, background first. The compressed
form writes each count, from the fourth on as the difference to the count two before, in groups of five bits (low
group first, bit 6 set while more follow, two's complement), as characters from "0" on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


def decode_counts(text: str | bytes) -> Int64:
    """Return the run lengths of COCO's compressed string; ValueError where it is no such string."""
    data = np.frombuffer(text.encode("ascii") if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    if data.size == 0:
        return np.zeros(0, np.int64)
    if data.min() < 0 or data.max() > 63 or data[-1] & 32:
        raise ValueError("not a compressed run-length string")
    ends = np.flatnonzero((data & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    place = np.arange(data.size) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((data & 31) << (5 * place), starts)
    values -= np.where(data[ends] & 16, np.int64(1) << (5 * (ends - starts + 1)), 0)
    counts = values.copy()
    counts[1::2] = np.cumsum(values[1::2])
    counts[2::2] = np.cumsum(values[2::2])
    return counts


def encode_counts(counts: Sequence[int]) -> str:
    """Return COCO's compressed string of run lengths (the inverse of :func:`decode_counts`)."""
    characters = []
    for i, count in enumerate(counts):
        value = int(count) - (int(counts[i - 2]) if i > 2 else 0)
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            characters.append(chr(48 + bits + (32 if more else 0)))
    return "".join(characters)


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a binary mask (H, W) as ``{"size": [H, W], "counts": compressed string}``."""
    flat = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate(([0], edges, [flat.size]))
    counts = np.diff(bounds).tolist()
    if flat.size and flat[0]:
        counts.insert(0, 0)
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": encode_counts(counts)}


def decode_indices(segmentation: Any, height: int, width: int) -> Int64:
    """Return positions of the object's pixels in the picture read down its columns (x * height + y), ascending.

    ``segmentation`` is run lengths (compressed or a list), or a list of polygons [x0, y0, x1, y1, ..]. Raises
    ValueError where it describes a picture of another size or cannot be decoded.
    """
    if isinstance(segmentation, Mapping):
        if [int(v) for v in segmentation["size"]] != [height, width]:
            raise ValueError(f"run lengths of size {list(segmentation['size'])} in an image of {[height, width]}")
        raw = segmentation["counts"]
        counts = decode_counts(raw) if isinstance(raw, str | bytes) else np.asarray(raw, np.int64)
        if counts.size and (counts.min() < 0 or counts.sum() != height * width):
            raise ValueError(f"run lengths cover {int(counts.sum())} pixels of {height * width}")
        lengths = counts[1::2]
        starts = np.cumsum(counts)[0::2][: lengths.size]
        covered = np.cumsum(lengths)
        total = int(covered[-1]) if covered.size else 0
        indices: Int64 = np.arange(total) + np.repeat(starts - (covered - lengths), lengths)
        return indices
    if isinstance(segmentation, Sequence) and all(isinstance(p, Sequence) for p in segmentation):
        return _polygon_indices(segmentation, height, width)
    raise ValueError(f"a segmentation of unknown form ({type(segmentation).__name__})")


def _polygon_indices(polygons: Sequence[Sequence[float]], height: int, width: int) -> Int64:
    # OpenCV's rasteriser differs from COCO's by the odd border pixel; PASCAL-Context itself has run lengths only.
    import cv2

    canvas = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        points = np.asarray(polygon, np.float64).reshape(-1, 2).round().astype(np.int32)
        cv2.fillPoly(canvas, [points], 1)
    return np.flatnonzero(canvas.ravel(order="F"))
