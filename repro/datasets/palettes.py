"""Palettes of masks: the numbers of the classes are the indices, which only a known order of colours vouches for.

Programs that recompress images without loss put the colours of a palette in another order, and turn grey masks into
palette masks; the picture stays, every class becomes another.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


@cache
def voc_palette() -> NDArray[np.uint8]:
    """Return (256, 3) VOC's colours: bits 0, 3, 6 of the value, highest first, give red; 1, 4, 7 green; 2, 5 blue."""
    import numpy as np

    values = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        colours[:, bit % 3] |= ((values >> bit) & 1) << (7 - bit // 3)
    return colours.astype(np.uint8)


def check_palette(image: Image.Image, path: Path, kind: str, mend: str) -> None:
    """Raise DataError where ``image`` has a palette by which its indices need not be class numbers.

    Accepted are images without palette, VOC's colours, the grey ramp (colour i is (i, i, i)), and a palette of one
    colour 256 times over, which says nothing. Only colours that occur are looked at.
    """
    if image.mode != "P":
        return
    import numpy as np

    colours = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    if len(colours) == 256 and (colours == colours[0]).all():
        return
    used = np.flatnonzero(image.histogram())
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    if used.size and used[-1] < len(colours):
        wrong = [used[(colours[used] != known[used]).any(axis=1)] for known in (voc_palette(), ramp)]
        if any(not len(w) for w in wrong):
            return
        index = int(max(wrong, key=lambda w: int(w[0]))[0])
        found = f"colour {index} is {tuple(int(v) for v in colours[index])}"
    else:
        found = f"{len(colours)} colours, and index {int(used[-1]) if used.size else 0}"
    raise DataError(
        f"{kind} {path} has a palette in an unknown order: its indices need not be class numbers",
        expected="the palette of PASCAL VOC, the grey ramp, or no palette (recompression reorders colours)",
        found=found,
        mend=mend,
    )
