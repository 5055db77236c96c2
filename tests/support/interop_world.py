"""Small worlds in which other libraries and this one evaluate the same: drawn sets, and square pictures of ADE20K."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from repro import evaluate
from repro.datasets.prepare.prepare import prepare

SETS = ("A-150", "PAS-20b", "PC-459")
"""An ordinary set, one with a folded background, one with labels of 16 bits."""
SIDE = 48
ONE_VIEW = {
    "protocol.short_side": SIDE,
    "protocol.max_long_side": SIDE,
    "protocol.canvas": SIDE,
    "protocol.window": SIDE,
    "protocol.whole_image": False,
}
"""A protocol that shows a square picture of that side to a method as it is."""


@dataclasses.dataclass(frozen=True)
class World:
    """``rows`` of ``repro eval`` by set; ``data`` is the data root of the drawn pictures."""

    runs: Path
    data: Path
    rows: dict[str, dict[str, Any]]


def make_world(folder: Path) -> World:
    """Evaluate CLIP of the smoke profile on :data:`SETS`."""
    runs = folder / "runs"
    rows = {row["benchmark"]: row for row in evaluate("clip", SETS, profile="smoke", runs=runs, device="cpu")}
    (data,) = (runs / "cache" / "data").iterdir()
    return World(runs, data, rows)


def square_ade(root: Path, count: int = 4) -> Path:
    """Write ``count`` square pictures as ADE20K distributes them (masks 0 .. 150), and prepare them; the data root."""
    folder = root / "ADEChallengeData2016"
    for number in range(count):
        rng = np.random.default_rng(number)
        image = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3)).repeat(8, 0).repeat(8, 1)
        mask = rng.integers(0, 12, (SIDE // 16, SIDE // 16)).repeat(16, 0).repeat(16, 1)
        for kind, suffix, pixels in (("images", "jpg", image), ("annotations", "png", mask)):
            place = folder / kind / "validation" / f"ADE_val_{number:08d}.{suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(place)
    prepare("A-150", root)
    return root
