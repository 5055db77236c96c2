"""Attention within lists of tokens, compiled: each token sees those of its own list, wherever their rows lie.

Windows, the regions that a shift leaves within them and the branches of DiSa are lists. What a mask would hide is not
computed, and no token is moved. Compiled by numba (:mod:`repro.layers.loops`); loops over vectors are
written in LLVM's language, as numba does not keep sums in registers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from repro.layers.loops import Floats, Ints, compiled
from repro.layers.vectors import (
    INT,
    LANES,
    ROWS,
    call,
    constant,
    lane,
    lane_sum,
    load,
    loop,
    power_of_two,
    row_of,
    splat,
    store,
    transposed,
    vectorised,
)


@vectorised
def take(
    b: Any, x: Any, column: Any, first: Any, stride: Any, members: Any, at: Any, count: Any, scale: Any, out: Any
) -> None:
    """Write 16 columns from ``first`` of the 16 tokens from ``at`` as vectors over tokens, times ``scale``."""
    x, members, scale = b.gep(x, [b.add(column, first)]), b.gep(members, [at]), splat(b, scale)
    out = b.gep(out, [lane(b, first)])
    rows = [b.fmul(load(b, row_of(b, x, members, INT(r), count, stride), INT(0)), scale) for r in range(LANES)]
    for r, vector in enumerate(transposed(b, rows)):
        store(b, vector, out, INT(r * LANES))


@vectorised
def score(
    b: Any,
    x: Any,
    column: Any,
    first: Any,
    stride: Any,
    members: Any,
    at: Any,
    count: Any,
    query: Any,
    width: Any,
    out: Any,
) -> None:
    """Write the products of keys ``first`` and the following ones of the list with 16 queries."""
    x, members = b.gep(x, [column]), b.gep(members, [at])
    rows = [row_of(b, x, members, b.add(first, INT(r)), count, stride) for r in range(ROWS)]

    def body(i: Any, sums: list[Any]) -> list[Any]:
        vector = load(b, query, lane(b, i))
        keys = [splat(b, b.load(b.gep(row, [i]))) for row in rows]
        return [call(b, "fma", key, vector, total) for key, total in zip(keys, sums, strict=True)]

    for r, total in enumerate(loop(b, width, [constant(0)] * ROWS, body)):
        store(b, total, out, lane(b, b.add(first, INT(r))))


@vectorised
def hide(b: Any, scores: Any, count: Any, labels: Any) -> None:
    """Put the scores of keys of another label than that of each of 16 queries last; keys and queries are the same."""
    queries = load(b, labels, INT(0))

    def one(i: Any, _: list[Any]) -> list[Any]:
        same = b.fcmp_ordered("==", queries, splat(b, b.load(b.gep(labels, [i]))))
        store(b, b.select(same, load(b, scores, lane(b, i)), constant(-math.inf)), scores, lane(b, i))
        return []

    loop(b, count, [], one)


@vectorised
def weigh(b: Any, scores: Any, count: Any, inverse: Any) -> None:
    """Turn scores in powers of two into weights of 16 queries, and write the inverse of their sums."""

    def larger(i: Any, largest: list[Any]) -> list[Any]:
        return [call(b, "maxnum", largest[0], load(b, scores, lane(b, i)))]

    (largest,) = loop(b, count, [constant(-math.inf)], larger)

    def power(i: Any, total: list[Any]) -> list[Any]:
        weight = power_of_two(b, b.fsub(load(b, scores, lane(b, i)), largest))
        store(b, weight, scores, lane(b, i))
        return [b.fadd(total[0], weight)]

    (total,) = loop(b, count, [constant(0)], power)
    store(b, b.fdiv(constant(1), total), inverse, INT(0))


@vectorised
def mix(
    b: Any, x: Any, column: Any, first: Any, stride: Any, members: Any, at: Any, count: Any, weights: Any, out: Any
) -> None:
    """Write ROWS columns from ``first`` of the values of a list, weighted for 16 queries."""
    x, members = b.gep(x, [b.add(column, first)]), b.gep(members, [at])
    out = b.gep(out, [lane(b, first)])

    def body(i: Any, sums: list[Any]) -> list[Any]:
        vector, row = load(b, weights, lane(b, i)), b.gep(x, [b.mul(b.load(b.gep(members, [i])), stride)])
        values = [splat(b, b.load(b.gep(row, [INT(r)]))) for r in range(ROWS)]
        return [call(b, "fma", value, vector, total) for value, total in zip(values, sums, strict=True)]

    for r, total in enumerate(loop(b, count, [constant(0)] * ROWS, body)):
        store(b, total, out, INT(r * LANES))


@vectorised
def spread(
    b: Any, x: Any, column: Any, first: Any, stride: Any, members: Any, at: Any, count: Any, mixed: Any, inverse: Any
) -> None:
    """Write 16 columns of the result of the 16 tokens from ``at``; what stands for a missing one is the last's."""
    x, members, inverse = b.gep(x, [b.add(column, first)]), b.gep(members, [at]), load(b, inverse, INT(0))
    mixed = b.gep(mixed, [lane(b, first)])
    rows = [b.fmul(load(b, mixed, INT(r * LANES)), inverse) for r in range(LANES)]
    for r, vector in enumerate(transposed(b, rows)):
        store(b, vector, row_of(b, x, members, INT(r), count, stride), INT(0))


@vectorised
def _raise_norm(b: Any, x: Any, column: Any, count: Any, stride: Any, vectors: Any, largest: Any, place: Any) -> None:
    """Raise a number of ``largest`` to the largest squared norm of ``count`` rows' ``vectors`` from ``column`` on.

    Four rows at a time, at the end the last one again.
    """
    x, largest, last = b.gep(x, [column]), b.gep(largest, [place]), b.sub(count, INT(1))

    def row(index: Any) -> Any:
        return b.gep(x, [b.mul(b.select(b.icmp_signed("<", index, last), index, last), stride)])

    def rows(i: Any, most: list[Any]) -> list[Any]:
        own = [row(b.add(b.mul(i, INT(4)), INT(r))) for r in range(4)]

        def part(j: Any, now: list[Any]) -> list[Any]:
            loaded = [load(b, row, lane(b, j)) for row in own]
            return [call(b, "fma", vector, vector, squares) for vector, squares in zip(loaded, now, strict=True)]

        norms = [lane_sum(b, vector) for vector in loop(b, vectors, [constant(0)] * 4, part)]
        return [b.select(b.fcmp_ordered(">", norm, n), norm, n) for norm, n in zip(norms, most, strict=True)]

    first = b.load(largest)
    for norm in loop(b, b.sdiv(b.add(count, INT(3)), INT(4)), [first] * 4, rows):
        first = b.select(b.fcmp_ordered(">", norm, first), norm, first)
    b.store(first, largest)


@compiled
def raise_norms(qkv: Floats, count: int, heads: int, largest: Floats) -> None:
    """Raise the ``largest`` squared norms of a query and a key (2 heads) to those of the first ``count`` tokens."""
    width = qkv.shape[1] // 3 // heads
    for part in range(2 * heads):
        _raise_norm(qkv, part * width, count, qkv.shape[1], width // LANES, largest, part)


@compiled
def zeros(rows: int, columns: int) -> Floats:
    """Return zeros (rows, columns) that begin where a line of the cache does, so that no vector crosses one."""
    count = rows * columns
    raw = np.zeros(count + LANES, np.float32)
    skipped = -(raw.ctypes.data // raw.itemsize) % LANES
    return raw[skipped : skipped + count].reshape(rows, columns)


@compiled
def weight_rows(count: int) -> int:
    """Return how many rows the weights of a list's ``count`` keys take, for 16 queries of a head, and their sums."""
    return 1 + (count + ROWS - 1) // ROWS * ROWS


@compiled
def weigh_keys(
    qkv: Floats,
    rows: Ints,
    start: int,
    count: int,
    at: int,
    labels: Floats,
    several: bool,
    own: int,
    scale: float,
    query: Floats,
    weights: Floats,
    inverse: Floats,
) -> None:
    """Write the weights of a list's keys for the 16 queries from ``at``, and the inverse of their sums.

    ``own`` is the first column of the head, ``scale`` what queries are multiplied by: scores are powers of two.
    """
    stride, width = qkv.shape[1], query.shape[0]
    for c in range(0, width, LANES):
        take(qkv, own, c, stride, rows, at, min(LANES, start + count - at), scale, query)
    for key in range(0, count, ROWS):
        score(qkv, stride // 3 + own, key, stride, rows, start, count, query, width, weights)
    if several:
        hide(weights, count, labels)
    weigh(weights, count, inverse)


@compiled
def attend_pack(
    qkv: Floats,
    rows: Ints,
    start: int,
    count: int,
    labels: Floats,
    several: bool,
    heads: int,
    room: Floats,
    kept: Floats,
    place: int,
    keep: bool,
    out: Floats,
) -> int:
    """Write the attention of tokens ``start`` to ``start + count`` over one another to ``out`` (.., C).

    ``rows`` says where each token's q, k, v are in ``qkv`` (.., 3 C) and its result in ``out``. ``several`` lists, of
    16 tokens in all at most, share the vectors: then tokens see those of their own of the 16 ``labels``, the last of
    which goes on to the end. Of each head and 16 queries, the inverse of the sums of weights and the weights are
    written to :func:`weight_rows` of ``kept`` from ``place`` on; returns the row after them, or the same where they
    need not be kept. ``room`` (2 C / heads, 16) is for what is between.
    """
    dim, stride, taken = out.shape[1], qkv.shape[1], weight_rows(count)
    width = dim // heads
    query, mixed = room[:width], room[width:]
    scale = np.float32(math.log2(math.e) / math.sqrt(width))
    for head in range(heads):
        own = head * width
        for at in range(start, start + count, LANES):
            some = min(LANES, start + count - at)
            inverse, weights = kept[place : place + 1], kept[place + 1 : place + taken]
            weigh_keys(qkv, rows, start, count, at, labels, several, own, scale, query, weights, inverse)
            for c in range(0, width, ROWS):
                mix(qkv, 2 * dim + own, c, stride, rows, start, count, weights, mixed)
            for c in range(0, width, LANES):
                spread(out, own, c, dim, rows, at, some, mixed, inverse)
            if keep:
                place += taken
    return place


@compiled
def longest_of(starts: Ints) -> int:
    """Return the number of tokens of the longest list."""
    longest = 0
    for i in range(starts.shape[0] - 1):
        longest = max(longest, starts[i + 1] - starts[i])
    return longest


@compiled
def furthest(largest: Floats, heads: int, width: int) -> float:
    """Return how far two scores of one query can be apart, by the ``largest`` squared norms (2, heads)."""
    product = np.float32(0)
    for head in range(heads):
        product = max(product, largest[head] * largest[heads + head])
    return 2 * math.sqrt(product / width)
