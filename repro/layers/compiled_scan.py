"""A linear recurrence place by place, compiled: with channels side by side a step is a product and a sum of vectors."""

from __future__ import annotations

from repro.layers.loops import Floats, fast


@fast
def recur(a: Floats, b: Floats, reverse: bool, out: Floats) -> None:
    """Write h_t = a_t h_{t-1} + b_t, or of h_{t+1}, along the second axis of (R, L, F); zero before the first."""
    rows, length, width = b.shape
    step = -1 if reverse else 1
    for row in range(rows):
        t = length - 1 if reverse else 0
        for f in range(width):
            out[row, t, f] = b[row, t, f]
        for _ in range(1, length):
            t += step
            for f in range(width):
                out[row, t, f] = a[row, t, f] * out[row, t - step, f] + b[row, t, f]
