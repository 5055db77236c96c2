"""The one training augmentation: mmsegmentation's transforms in the order CAT-Seg published.

Shorter side to ``short_side``, random ``crop`` x ``crop`` with the category-area limit, photometric distortion as in
SSD, horizontal flip, padding with 128 (image) and 255 (label). Differences from the official code that remain:
OpenCV's bilinear instead of Pillow's in the resizing.
"""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from repro.errors import ResourceError
from repro.mends import install
from repro.runtime import import_torchvision
from repro.training.settings import TrainSettings

IGNORED = 255
"""The label that every training label map uses for "no class"."""

PADDING = 128
"""Grey level of padded image pixels."""

# The longer side is limited to 1333 at a shorter side of 384 (detectron2's default, unchanged by CAT-Seg): only images
# more elongated than 3.47 : 1 are affected, and only those are ever padded.
_LONG_PER_SHORT = 1333 / 384

Transform = Callable[[dict[str, Any]], dict[str, Any] | None]


class _KeepOnePixel:
    """As mmsegmentation's ``ResizeShortestEdge``, but the shorter side of a very long image does not vanish."""

    def __init__(self, shortest_edge: Any) -> None:
        self.shortest_edge = shortest_edge

    def __call__(self, results: dict[str, Any]) -> dict[str, Any] | None:
        edge = self.shortest_edge
        width, height = edge._get_output_shape(results["img"], edge.scale)
        if min(width, height) <= 1:
            edge = type(edge.resize)(scale=(max(1, width), max(1, height)), keep_ratio=False)
        resized: dict[str, Any] | None = edge(results)
        return resized


def build_pipeline(settings: TrainSettings) -> list[Transform]:
    """Return the transforms for ``settings``; ResourceError when mmsegmentation is not installed."""
    import_torchvision()
    try:
        # Importing the maintained fork prints a notice on stdout, where only results belong; it tells a user nothing.
        with contextlib.redirect_stdout(io.StringIO()):
            from mmcv.transforms import Pad
            from mmseg.datasets.transforms import PhotoMetricDistortion, RandomCrop, RandomFlip, ResizeShortestEdge
    except ImportError as error:
        raise ResourceError(
            "training needs mmsegmentation, which is not installed",
            found=str(error),
            mend=install("train"),
        ) from error
    side = (settings.crop, settings.crop)
    return [
        _KeepOnePixel(ResizeShortestEdge(settings.short_side, max_size=round(settings.short_side * _LONG_PER_SHORT))),
        RandomCrop(crop_size=side, cat_max_ratio=settings.cat_max_ratio, ignore_index=IGNORED),
        PhotoMetricDistortion(),
        RandomFlip(prob=0.5),
        Pad(size=side, pad_val={"img": (PADDING,) * 3, "seg": IGNORED}),
    ]


def augment(pipeline: list[Transform], image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a training crop: uint8 RGB (S, S, 3), uint8 labels (S, S) from an image (H, W, 3) and its labels (H, W).

    Draws from numpy's global generator (mmsegmentation does); see :func:`seeded`.
    """
    # mmsegmentation's colour arithmetic takes BGR; the hue step would turn the other way on RGB.
    results: dict[str, Any] = {
        "img": cv2.cvtColor(image, cv2.COLOR_RGB2BGR),  # many times faster than copying a reversed view
        "img_shape": image.shape[:2],
        "ori_shape": image.shape[:2],
        "gt_seg_map": label,
        "seg_fields": ["gt_seg_map"],
    }
    for transform in pipeline:
        transformed = transform(results)
        assert transformed is not None
        results = transformed
    return cv2.cvtColor(results["img"], cv2.COLOR_BGR2RGB), np.ascontiguousarray(results["gt_seg_map"])


@contextlib.contextmanager
def seeded(seed: int, position: int) -> Iterator[None]:
    """Seed numpy's and Python's global generators from (seed, position) inside the block and restore them after it."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 (mmsegmentation draws from it)
    words = np.random.SeedSequence((seed, position)).generate_state(4)
    np.random.seed(words)  # noqa: NPY002
    random.seed(words.tobytes())
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
