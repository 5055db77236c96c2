"""Linear attention over the classes of a place, and the MLP after it, compiled: one place after another."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from repro.layers.compiled_attention import zeros
from repro.layers.compiled_products import TILE, affine_onto, affine_relu, normalise, onto
from repro.layers.loops import Floats, compiled, fast
from repro.layers.vectors import (
    INT,
    LANES,
    at_least,
    at_most,
    call,
    constant,
    lane,
    load,
    loop,
    power_of_two,
    splat,
    store,
    vectorised,
)

KEYS = 4
"""Rows of a sum of outer products that are in registers."""


class Weights(NamedTuple):
    """Parameters of the layer of C channels and H hidden ones; matrices from inputs (rows) to outputs (columns)."""

    norm1: Floats
    """Weight and bias (2, C)."""
    qkv: Floats
    """(C, 3 C)."""
    norm2: Floats
    fc1: Floats
    """(C + 1, H), the bias as last row."""
    fc2: Floats
    """(H + 1, C)."""
    eps: float


@vectorised
def _features(b: Any, x: Any, count: Any) -> None:
    """Replace ``count`` vectors of numbers by elu + 1: e^x below zero, x + 1 above."""

    def body(i: Any, _: list[Any]) -> list[Any]:
        vector = load(b, x, lane(b, i))
        below = power_of_two(b, b.fmul(at_most(b, vector, 0), constant(math.log2(math.e))))
        store(b, b.fadd(below, at_least(b, vector, 0)), x, lane(b, i))
        return []

    loop(b, count, [], body)


@vectorised
def _outer(b: Any, k: Any, v: Any, width: Any, count: Any, row: Any, column: Any, out: Any) -> None:
    """Write KEYS rows and 16 columns of the sum of outer products of ``k`` and ``v``, both (count, width)."""
    k, v = b.gep(k, [row]), b.gep(v, [column])

    def body(i: Any, sums: list[Any]) -> list[Any]:
        at = b.mul(i, width)
        vector, base = load(b, v, at), b.gep(k, [at])
        keys = [splat(b, b.load(b.gep(base, [INT(r)]))) for r in range(KEYS)]
        return [call(b, "fma", key, vector, total) for key, total in zip(keys, sums, strict=True)]

    for r, total in enumerate(loop(b, count, [constant(0)] * KEYS, body)):
        store(b, total, out, b.add(b.mul(b.add(row, INT(r)), width), column))


@fast
def _gather(x: Floats, offset: Floats, place: int, tokens: Floats, qkv: Floats) -> None:
    """Copy the tokens of all classes at ``place`` of ``x`` (T, L, C), and what is added to their q, k, v."""
    for t in range(x.shape[0]):
        for j in range(x.shape[2]):
            tokens[t, j] = x[t, place, j]
        for j in range(offset.shape[1]):
            qkv[t, j] = offset[t, j]


@fast
def _scatter(tokens: Floats, place: int, out: Floats) -> None:
    for t in range(out.shape[0]):
        for j in range(out.shape[2]):
            out[t, place, j] = tokens[t, j]


@fast
def _cut(qkv: Floats, count: int, column: int, out: Floats) -> None:
    """Copy the columns of one head, from ``column``."""
    for t in range(count):
        for j in range(out.shape[1]):
            out[t, j] = qkv[t, column + j]


@fast
def _sum_rows(x: Floats, count: int, more: Floats, out: Floats) -> None:
    """Write ``more`` and the sum of the first rows of ``x``."""
    for j in range(x.shape[1]):
        out[j] = more[j]
    for t in range(count):
        for j in range(x.shape[1]):
            out[j] += x[t, j]


@fast
def _add_head(
    q: Floats, mixed: Floats, count: int, key_sum: Floats, slots: float, eps: float, column: int, tokens: Floats
) -> None:
    """Add the mixed values of a head, times slots over the sum of weights, to its columns of the tokens."""
    for t in range(count):
        weight = np.float32(0)
        for j in range(q.shape[1]):
            weight += q[t, j] * key_sum[j]
        scale = np.float32(slots) / (weight + np.float32(eps))
        for j in range(q.shape[1]):
            tokens[t, column + j] += mixed[t, j] * scale


@compiled
def attend_classes(
    x: Floats,
    offset: Floats,
    weights: Weights,
    heads: int,
    slots: int,
    values_padding: Floats,
    keys_padding: Floats,
    eps: float,
    first: int,
    out: Floats,
) -> None:
    """Write places from ``first`` on of the layer's result, as many as ``out`` (T, places, C) has.

    Of tokens ``x`` (T, L, C); ``offset`` (T, 3 C) is added to q, k, v of each class. Padded slots add
    ``values_padding`` (C, C) to the sum of outer products and ``keys_padding`` (C) to that of keys; ``slots`` counts
    all.
    """
    classes, dim, hidden = x.shape[0], x.shape[2], weights.fc1.shape[1]
    width, most = dim // heads, (classes + TILE - 1) // TILE * TILE
    tokens, normed, inner = zeros(most, dim), zeros(most, dim), zeros(most, hidden)
    qkv, mixed = zeros(most, 3 * dim), zeros(most, width)
    q, k, v = zeros(most, width), zeros(most, width), zeros(most, width)
    product, key_sum = zeros(width, width), zeros(1, width)[0]
    share = np.float32(1 / slots)
    for place in range(out.shape[1]):
        _gather(x, offset, first + place, tokens, qkv)
        normalise(tokens, classes, weights.norm1, weights.eps, normed)
        for column in range(0, 3 * dim, LANES):
            for t in range(0, classes, TILE):
                onto(normed, dim, t, weights.qkv, 3 * dim, column, qkv)
        for head in range(heads):
            own = head * width
            _cut(qkv, classes, own, q)
            _cut(qkv, classes, dim + own, k)
            _cut(qkv, classes, 2 * dim + own, v)
            _features(q, classes * width // LANES)
            _features(k, classes * width // LANES)
            for column in range(0, width, LANES):
                for row in range(0, width, KEYS):
                    _outer(k, v, width, classes, row, column, product)
            for i in range(width):
                for j in range(width):
                    product[i, j] = (product[i, j] + values_padding[own + i, own + j]) * share
            _sum_rows(k, classes, keys_padding[own : own + width], key_sum)
            mixed[:] = 0
            for column in range(0, width, LANES):
                for t in range(0, classes, TILE):
                    onto(q, width, t, product, width, column, mixed)
            _add_head(q, mixed, classes, key_sum, slots, eps, own, tokens)
        normalise(tokens, classes, weights.norm2, weights.eps, normed)
        for column in range(0, hidden, LANES):
            for t in range(0, classes, TILE):
                affine_relu(normed, dim, t, weights.fc1, hidden, column, inner)
        for column in range(0, dim, LANES):
            for t in range(0, classes, TILE):
                affine_onto(inner, hidden, t, weights.fc2, dim, column, tokens)
        _scatter(tokens, place, out)
