"""Colours of classes by their names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from repro.datasets.benchmarks import BACKGROUND

_CANDIDATES = 64
_APART = 14.0  # CIELAB distance; a larger one would leave fewer names their first colour


def class_colours(names: Sequence[str]) -> NDArray[np.uint8]:
    """Return a colour (N, 3), RGB, for each of ``names``.

    A name alone decides the row of colours it would take; it takes the first that is not too near (CIELAB) to one of
    an earlier name, or else the farthest. So a colour is the same in every picture, and in every list up to the few
    names that clash; names added at the end change nothing before them. Background is grey, and nothing else is.
    """
    chosen = np.zeros((len(names), 3))
    colours = np.zeros((len(names), 3), np.uint8)
    for index, name in enumerate(names):
        rgb, lab = _candidates(name)
        distance = cdist(lab, chosen[:index]).min(axis=1, initial=np.inf)
        clear = np.flatnonzero(distance >= _APART)
        best = clear[0] if clear.size else distance.argmax()
        colours[index], chosen[index] = rgb[best], lab[best]
    return colours


def _candidates(name: str) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return colours (K, 3) that ``name`` would take, best first: as RGB and as CIELAB."""
    raw = hashlib.shake_256(name.casefold().encode()).digest(3 * _CANDIDATES)
    unit = np.frombuffer(raw, np.uint8).reshape(1, -1, 3).astype(np.float32) / 255
    hsv = unit * np.array([360, 0.5, 0.55], np.float32) + np.array([0, 0.5, 0.45], np.float32)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if name == BACKGROUND:
        rgb[:] = 0.35
    eight_bit = np.round(rgb * 255).astype(np.uint8)
    lab = cv2.cvtColor(eight_bit.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return eight_bit[0], lab[0].astype(np.float64)
