"""Regions: the cells of a grid drawn for every image (docs/specs/densevlm.md, section 2)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray


@cache
def grid_pairs(max_split: int = 6) -> tuple[tuple[int, int], ...]:
    """Return the (rows, columns) a grid may have: 17 for ``max_split`` 6, columns at least about half the rows."""
    return tuple(
        (rows, columns)
        for rows in range(2, max_split + 1)
        for columns in range((rows + 1) // 2 + 1, min(2 * rows, max_split) + 1)
    )


def grid_boxes(height: int, width: int, rows: int, columns: int) -> NDArray[np.float32]:
    """Return the cells (rows * columns, 4) of an equal partition of an image, x1 y1 x2 y2 in its pixels, row by row."""
    y = np.arange(rows + 1, dtype=np.float32) * np.float32(height / rows)
    x = np.arange(columns + 1, dtype=np.float32) * np.float32(width / columns)
    corners = [(x[j], y[i], x[j + 1], y[i + 1]) for i in range(rows) for j in range(columns)]
    return np.array(corners, np.float32)
