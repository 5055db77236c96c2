"""The arg-max over many classes without the maps of those that cannot win (docs/performance.md).

Two facts make most maps needless. Bilinear resizing lies between the logits it is made of, and both activations keep
their order in each view. So in a tile of the image, a class that lies below another one at every logit the tile rests
on, in every view, wins nowhere. And no score of a class exceeds what follows from the largest of its logits there: of
the classes that are left, the most promising are computed first, pixel by pixel as the protocol says, until no other
can win at any pixel of the tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repro.datasets.protocol import Protocol
from repro.layers.parallel import each, threads

FEWEST = 32
"""Classes from which on it is faster than making all maps."""
TILE = 8
"""Side of a tile in pixels of the image, where that is at most half as large again as the canvas."""
PARTS = 4
"""Parts of the image a thread gets, so that all are busy to the end."""


def worthwhile(logits: Tensor, protocol: Protocol) -> bool:
    """Tell whether :func:`pruned_labels` is meant for ``logits`` (V, N, h, w): many classes, coarse, on a CPU."""
    coarse = 2 * max(logits.shape[-2:]) <= protocol.window  # else a strip of them would be as large as a map
    return logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.shape[1] >= FEWEST and coarse


def pruned_labels(
    protocol: Protocol,
    corners: Sequence[tuple[int, int]],
    activation: str,
    logits: Tensor,
    size: tuple[int, int],
    last: int,
) -> NDArray[np.uint16]:
    """Return the labels (H, W) of :meth:`repro.evaluation.infer.SlidingWindow.labels` for finite logits (V, N, h, w).

    ``corners`` are (top, left) of the windows on the canvas. Where two scores differ by rounding alone the other of
    the two may be named.
    """
    from repro.evaluation.tiles import Geometry, label_strips

    p = protocol
    cover = np.zeros(p.canvas, np.float32)
    for start in {top for top, _ in corners}:
        cover[start : start + p.window] += 1
    places = np.array(corners, np.int64)
    geometry = Geometry(
        np.ascontiguousarray(places[:, 0]),
        np.ascontiguousarray(places[:, 1]),
        p.window,
        p.whole_image,
        activation == "softmax",
        _axis(p.canvas, size[0]),
        _axis(p.canvas, size[1]),
        _axis(p.window, p.canvas),
        _axis(logits.shape[-2], p.window),
        _axis(logits.shape[-1], p.window),
        cover,
    )
    values, index = logits.detach().contiguous().numpy(), np.zeros(size, np.uint16)
    tile = (TILE * max(1, round(size[0] / p.canvas)), TILE * max(1, round(size[1] / p.canvas)))
    strips = -(-size[0] // tile[0])
    workers = threads(logits.device)
    parts = min(strips, PARTS * workers) if workers > 1 else 1
    counts = np.zeros((parts, 3), np.int64)
    edges = [strips * part // parts * tile[0] for part in range(parts)] + [size[0]]

    def work(part: int) -> None:
        label_strips(geometry, values, last, tile, edges[part], edges[part + 1], index, counts[part])

    each(work, parts, logits.device)
    return index


def _axis(source: int, target: int) -> Any:
    """Return bilinear resizing from ``source`` to ``target`` places as torch computes it without aligned corners."""
    from repro.evaluation.tiles import Axis

    if source == target:
        here = np.arange(source)
        return Axis(here, here, np.zeros(source, np.float32))
    scale = np.float32(source) / np.float32(target)
    at = np.maximum(scale * (np.arange(target, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), np.float32(0))
    first = np.minimum(at.astype(np.int64), source - 1)
    second = np.minimum(first + 1, source - 1)
    return Axis(first, second, np.clip(at - first.astype(np.float32), 0, 1).astype(np.float32))
