"""The gradient of attention within lists of tokens, compiled, 16 queries at a time; weights are kept or made again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from repro.layers.compiled_attention import mix, score, spread, take, weigh_keys, weight_rows, zeros
from repro.layers.loops import Floats, Ints, compiled
from repro.layers.vectors import INT, LANES, ROWS, call, constant, lane, load, loop, splat, store, vectorised

_NOTHING = 1e-30
"""Weights below it are 0: products with them would leave the normal numbers, which takes some processors long."""

Room = tuple[Floats, Floats, Floats, Floats, Floats]


@vectorised
def _soften(b: Any, weights: Any, grads: Any, count: Any, inverse: Any, scale: Any) -> None:
    """Divide the weights of ``count`` keys by their sums, and turn their gradients into those of unscaled scores."""
    inverse, scale = load(b, inverse, INT(0)), splat(b, scale)

    def normalise(i: Any, total: list[Any]) -> list[Any]:
        weight = b.fmul(load(b, weights, lane(b, i)), inverse)
        weight = b.select(b.fcmp_ordered("<", weight, constant(_NOTHING)), constant(0), weight)
        store(b, weight, weights, lane(b, i))
        return [call(b, "fma", weight, load(b, grads, lane(b, i)), total[0])]

    (mean,) = loop(b, count, [constant(0)], normalise)

    def soften(i: Any, _: list[Any]) -> list[Any]:
        apart = b.fsub(load(b, grads, lane(b, i)), mean)
        store(b, b.fmul(b.fmul(load(b, weights, lane(b, i)), scale), apart), grads, lane(b, i))
        return []

    loop(b, count, [], soften)


@vectorised
def _share(
    b: Any, weights: Any, first: Any, count: Any, x: Any, at: Any, stride: Any, out: Any, place: Any, wide: Any
) -> None:
    """Add to 16 columns of ROWS keys what ``count`` queries weigh of theirs.

    Rows of ``x`` begin at number ``at``, ``stride`` apart, those of ``out`` at ``place``, ``wide`` apart.
    """
    x, out = b.gep(x, [at]), b.gep(out, [place])
    rows = [b.gep(weights, [lane(b, b.add(first, INT(r)))]) for r in range(ROWS)]

    def body(i: Any, sums: list[Any]) -> list[Any]:
        vector = load(b, x, b.mul(i, stride))
        numbers = [splat(b, b.load(b.gep(row, [i]))) for row in rows]
        return [call(b, "fma", number, vector, total) for number, total in zip(numbers, sums, strict=True)]

    for r, total in enumerate(loop(b, count, [constant(0)] * ROWS, body)):
        key = b.mul(b.add(first, INT(r)), wide)
        store(b, b.fadd(load(b, out, key), total), out, key)


@compiled
def rooms_back(width: int, longest: int) -> Room:
    """Return room for queries and their gradients, mixed keys and gradients of weights, and a vector of ones."""
    ones = zeros(1, LANES)
    ones[:] = 1
    return zeros(width, LANES), zeros(width, LANES), zeros(width, LANES), zeros(weight_rows(longest), LANES), ones


@compiled
def attend_pack_back(
    qkv: Floats,
    rows: Ints,
    start: int,
    count: int,
    labels: Floats,
    several: bool,
    heads: int,
    room: Room,
    kept: Floats,
    place: int,
    keep: bool,
    grad: Floats,
    out: Floats,
) -> int:
    """Write the gradient of q, k, v of tokens ``start`` to ``start + count`` to ``out`` (.., 3 C), which is 0 before.

    ``grad`` (.., C) is that of what :func:`~repro.layers.compiled_attention.attend_pack` makes of the rest; ``rows``
    must be 0, 1, .. here. Its weights are in ``kept`` from row ``place`` on, and written over; returns the row after
    them. Where it did not ``keep`` them, they are weighed again there. ROWS rows at most after the list's are written
    to, with what they hold.
    """
    query, back, mixed, grads, ones = room
    dim, stride, taken = grad.shape[1], qkv.shape[1], weight_rows(count)
    width = dim // heads
    whole = np.float32(1)
    scale = whole / np.float32(math.sqrt(width))
    power = np.float32(math.log2(math.e)) * scale
    for head in range(heads):
        own = head * width
        for at in range(start, start + count, LANES):
            some = min(LANES, start + count - at)
            inverse, weights = kept[place : place + 1], kept[place + 1 : place + taken]
            if not keep:
                weigh_keys(qkv, rows, start, count, at, labels, several, own, power, query, weights, inverse)
            for c in range(0, width, LANES):
                take(grad, own, c, dim, rows, at, some, whole, back)
            for key in range(0, count, ROWS):
                score(qkv, 2 * dim + own, key, stride, rows, start, count, back, width, grads)
            _soften(weights, grads, count, inverse, scale)
            weights[count:] = 0
            grads[count : taken - 1] = 0
            for c in range(0, width, ROWS):
                mix(qkv, dim + own, c, stride, rows, start, count, grads, mixed)
            for c in range(0, width, LANES):
                spread(out, own, c, stride, rows, at, some, mixed, ones)
                for key in range(0, count, ROWS):
                    moved = start * stride + own + c
                    _share(grads, key, some, qkv, at * stride + own + c, stride, out, moved + dim, stride)
                    _share(weights, key, some, grad, at * dim + own + c, dim, out, moved + 2 * dim, stride)
            if keep:
                place += taken
    return place
