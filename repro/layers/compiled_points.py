"""The decoder's last convolution, to one number a place, with its gradient, compiled.

Torch takes several times as long, whose loops want more than one channel of results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from repro.layers.compiled_attention import zeros
from repro.layers.compiled_decoder import bordered, convolve, point_map, shifts
from repro.layers.loops import Floats, compiled
from repro.layers.vectors import INT, LANES, call, constant, load, loop, splat, store, vectorised


@compiled
def points(x: Floats, side: int, head: Floats, bias: float, out: Floats) -> None:
    """Write a 3x3 convolution ``head`` (9, D) to one number a place, and ``bias``, of maps ``x`` (N, side ** 2, D)."""
    maps, number = zeros((side + 2) ** 2, x.shape[2]), np.float32(bias)
    for n in range(x.shape[0]):
        bordered(x[n], 0, side, maps)
        point_map(maps, side, head, number, out[n])


@vectorised
def _head_onto(
    b: Any, x: Any, width: Any, first: Any, taps: Any, count: Any, grad: Any, place: Any, column: Any, out: Any
) -> None:
    """Add to 16 columns of nine taps ``out`` (9, width) the products of ``count`` places: ``x`` and ``grad``.

    Place i has number ``place + i`` of ``grad`` and reads row ``first + i + tap`` of ``x`` (.., width).
    """
    x, grad, out = b.gep(x, [column]), b.gep(grad, [place]), b.gep(out, [column])
    bases = [b.gep(x, [b.mul(b.add(first, b.load(b.gep(taps, [INT(t)]))), width)]) for t in range(9)]

    def body(i: Any, sums: list[Any]) -> list[Any]:
        number, row = splat(b, b.load(b.gep(grad, [i]))), b.mul(i, width)
        return [call(b, "fma", number, load(b, base, row), total) for base, total in zip(bases, sums, strict=True)]

    for t, total in enumerate(loop(b, count, [constant(0)] * 9, body)):
        row = b.mul(INT(t), width)
        store(b, b.fadd(load(b, out, row), total), out, row)


@compiled
def points_back(x: Floats, side: int, head: Floats, grad: Floats, out: Floats, to_head: Floats) -> None:
    """Write the gradient of maps ``x`` (N, side ** 2, D) by that of :func:`points`, ``grad`` (N, side ** 2, 1).

    That of the convolution is added to ``to_head`` (9, D).
    """
    width, taps = x.shape[2], shifts(side, 3, 3, 1, 1)
    maps, around, sums, back = zeros((side + 2) ** 2, width), zeros((side + 2) ** 2, 1), zeros(9, width), -taps
    for n in range(x.shape[0]):
        bordered(x[n], 0, side, maps)
        bordered(grad[n], 0, side, around)
        convolve(around, back, side, head, out[n], 0, side, 1)
        sums[:] = 0
        for y in range(side):
            first = (y + 1) * (side + 2) + 1
            for column in range(0, width, LANES):
                _head_onto(maps, width, first, taps, side, grad[n], y * side, column, sums)
        to_head += sums  # sums of sums are more exact than one of many places
