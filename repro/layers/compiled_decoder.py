"""The decoder of a cost volume, compiled: a map goes through all stages before the next one is taken.

Convolutions read maps with a border of zeros, so that each is a sum over shifts ("taps") of whole rows of places; the
transposed one of :class:`repro.layers.decoder.UpStage` is four of them, one for each parity of row and column.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from repro.layers.compiled_attention import zeros
from repro.layers.loops import Floats, Ints, compiled, fast
from repro.layers.vectors import INT, LANES, call, constant, lane, lane_sum, load, loop, splat, store, vectorised

TILE = 4
"""Places of a row whose sums are in registers."""


class Stage(NamedTuple):
    """Parameters of a stage from C to D channels."""

    up: Floats
    """(4, 4 C, D): of each parity, rows of taps in the order of ``PARITIES``."""
    norm1: Floats
    """Weight and bias (2, D)."""
    conv: Floats
    """(9 D, D)."""
    norm2: Floats
    groups: int
    eps: float


@vectorised
def sum_taps(
    b: Any,
    x: Any,
    width: Any,
    first: Any,
    taps: Any,
    count: Any,
    weight: Any,
    columns: Any,
    column: Any,
    out: Any,
    place: Any,
    step: Any,
) -> None:
    """Write 16 columns of TILE places: sums over taps and channels of ``x`` (.., width) times ``weight``.

    Place r reads row ``first + r + tap`` of ``x`` and is row ``place + r step`` of ``out`` (.., columns).
    """
    x, weight, out = b.gep(x, [b.mul(first, width)]), b.gep(weight, [column]), b.gep(out, [column])
    across = b.mul(width, columns)

    def tap(t: Any, sums: list[Any]) -> list[Any]:
        base = b.gep(x, [b.mul(b.load(b.gep(taps, [t])), width)])
        rows = [b.gep(base, [b.mul(INT(r), width)]) for r in range(TILE)]
        own = b.gep(weight, [b.mul(t, across)])

        def channel(c: Any, now: list[Any]) -> list[Any]:
            vector = load(b, own, b.mul(c, columns))
            numbers = [splat(b, b.load(b.gep(row, [c]))) for row in rows]
            return [call(b, "fma", number, vector, total) for number, total in zip(numbers, now, strict=True)]

        return loop(b, width, sums, channel)

    for r, vector in enumerate(loop(b, count, [constant(0)] * TILE, tap)):
        store(b, vector, out, b.mul(b.add(place, b.mul(INT(r), step)), columns))


@vectorised
def _column_sums(b: Any, x: Any, rows: Any, columns: Any, column: Any, middle: Any, out: Any) -> None:
    """Write the sums of 16 columns of ``x`` (rows, columns) and of their squares less ``middle``, both (2, columns).

    The rows are a multiple of TILE, each of which has sums of its own.
    """
    x, out = b.gep(x, [column]), b.gep(out, [column])
    shift = load(b, middle, column)

    def body(i: Any, sums: list[Any]) -> list[Any]:
        after = []
        for r in range(TILE):
            row = b.mul(b.add(b.mul(i, INT(TILE)), INT(r)), columns)
            apart = b.fsub(load(b, x, row), shift)
            after += [b.fadd(sums[2 * r], apart), call(b, "fma", apart, apart, sums[2 * r + 1])]
        return after

    sums = loop(b, b.sdiv(rows, INT(TILE)), [constant(0)] * (2 * TILE), body)
    for kind in range(2):
        first, *others = sums[kind::2]
        for other in others:
            first = b.fadd(first, other)
        store(b, first, out, b.mul(INT(kind), columns))


@fast
def _by_group(sums: Floats, groups: int, share: float, out: Floats) -> None:
    """Write the mean of each group of columns to all its columns, of their ``sums`` times ``share``."""
    size = sums.shape[0] // groups
    for group in range(groups):
        whole = np.float32(0)
        for j in range(group * size, (group + 1) * size):
            whole += sums[j]
        for j in range(group * size, (group + 1) * size):
            out[j] = whole * np.float32(share)


@fast
def _rectify(x: Floats, mean: Floats, variance: Floats, norm: Floats, eps: float, side: int, out: Floats) -> None:
    """Write ReLU of normalised places ``x`` (side ** 2, D) to the inside of a map with a border."""
    width = x.shape[1]
    for j in range(width):
        variance[j] = norm[0, j] / np.sqrt(variance[j] + np.float32(eps))
        mean[j] = norm[1, j] - mean[j] * variance[j]
    for y in range(side):
        for i in range(side):
            row = (y + 1) * (side + 2) + i + 1
            for j in range(width):
                out[row, j] = max(x[y * side + i, j] * variance[j] + mean[j], np.float32(0))


@compiled
def _normalise(x: Floats, norm: Floats, groups: int, eps: float, side: int, room: Floats, out: Floats) -> None:
    """Write group norm and ReLU of places ``x`` (side ** 2, D) to the inside of a map with a border; room (4, D)."""
    places, columns = x.shape
    share = groups / (places * columns)
    mean, variance, sums = room[0], room[1], room[2:]
    mean[:] = 0
    for column in range(0, columns, LANES):
        _column_sums(x, places, columns, column, mean, sums)
    _by_group(sums[0], groups, share, mean)
    for column in range(0, columns, LANES):
        _column_sums(x, places, columns, column, mean, sums)
    _by_group(sums[1], groups, share, variance)
    _rectify(x, mean, variance, norm, eps, side, out)


@fast
def bordered(x: Floats, first: int, side: int, out: Floats) -> None:
    """Copy a map of rows from ``first`` of ``x`` (.., C) to the inside of ``out``, a map with a border."""
    for y in range(side):
        for i in range(side):
            for j in range(x.shape[1]):
                out[(y + 1) * (side + 2) + i + 1, j] = x[first + y * side + i, j]


@fast
def _add(x: Floats, shared: Floats) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] += shared[i, j]


@vectorised
def _point(b: Any, x: Any, width: Any, first: Any, taps: Any, weight: Any, bias: Any, out: Any, place: Any) -> None:
    """Write one number each of TILE places: sums over nine taps and the channels of ``x`` (.., width), and ``bias``."""
    x, out = b.gep(x, [b.mul(first, width)]), b.gep(out, [place])

    def tap(t: Any, sums: list[Any]) -> list[Any]:
        base = b.gep(x, [b.mul(b.load(b.gep(taps, [t])), width)])
        rows = [b.gep(base, [b.mul(INT(r), width)]) for r in range(TILE)]
        own = b.gep(weight, [b.mul(t, width)])

        def part(i: Any, now: list[Any]) -> list[Any]:
            vector = load(b, own, lane(b, i))
            return [call(b, "fma", load(b, row, lane(b, i)), vector, n) for row, n in zip(rows, now, strict=True)]

        return loop(b, b.sdiv(width, INT(LANES)), sums, part)

    for r, vector in enumerate(loop(b, INT(9), [constant(0)] * TILE, tap)):
        b.store(b.fadd(lane_sum(b, vector), bias), b.gep(out, [INT(r)]))


@compiled
def shifts(side: int, rows: int, columns: int, up: int, left: int) -> Ints:
    """Return by how many places of a map with a border (side + 2) each tap lies from the first place inside."""
    taps = np.empty(rows * columns, np.int64)
    for t in range(rows * columns):
        taps[t] = (t // columns - up) * (side + 2) + t % columns - left
    return taps


@compiled
def convolve(x: Floats, taps: Ints, side: int, weight: Floats, out: Floats, begin: int, row: int, step: int) -> None:
    """Write what ``weight`` (taps C, D) makes of ``x`` (.., C), a map with a border, to ``out`` (.., D).

    Place i of row y is row ``begin + y row + i step`` there.
    """
    width, columns = x.shape[1], out.shape[1]
    for y in range(side):
        for i in range(0, side, TILE):
            first, place = (y + 1) * (side + 2) + i + 1, begin + y * row + i * step
            for column in range(0, columns, LANES):
                sum_taps(x, width, first, taps, len(taps), weight, columns, column, out, place, step)


@compiled
def _stage(x: Floats, side: int, stage: Stage, shared: Floats) -> Floats:
    """Return a map of twice the ``side`` of one with a border, ``x``; ``shared`` (4 side ** 2, D) is added first."""
    columns, twice = stage.up.shape[2], 2 * side
    whole, room, out = zeros(twice**2, columns), zeros(4, columns), zeros((twice + 2) ** 2, columns)
    for parity in range(4):
        down, right = parity // 2, parity % 2
        taps = shifts(side, 2, 2, 1 - down, 1 - right)
        convolve(x, taps, side, stage.up[parity], whole, down * twice + right, 2 * twice, 2)
    _add(whole, shared)
    _normalise(whole, stage.norm1, stage.groups, stage.eps, twice, room, out)
    convolve(out, shifts(twice, 3, 3, 1, 1), twice, stage.conv, whole, 0, twice, 1)
    _normalise(whole, stage.norm2, stage.groups, stage.eps, twice, room, out)
    return out


@compiled
def point_map(x: Floats, side: int, head: Floats, bias: float, out: Floats) -> None:
    """Write one number for each place inside ``x``, a map with a border: a 3x3 convolution ``head`` (9, D)."""
    taps, width = shifts(side, 3, 3, 1, 1), x.shape[1]
    for y in range(side):
        for i in range(0, side, TILE):
            _point(x, width, (y + 1) * (side + 2) + i + 1, taps, head, bias, out, y * side + i)


@compiled
def decode_maps(
    x: Floats, side: int, stages: tuple[Stage, ...], shared: tuple[Floats, ...], head: Floats, bias: float, out: Floats
) -> None:
    """Write logits ``out`` (N, place) of maps ``x`` (N side ** 2, C) by the stages and a last 3x3 convolution.

    ``shared`` (places, D) is what each stage adds for all maps, ``head`` (9, D). Sides are multiples of TILE.
    """
    number = np.float32(bias)
    for n in range(out.shape[0]):
        size = side
        maps = zeros((size + 2) ** 2, x.shape[1])
        bordered(x, n * side**2, side, maps)
        for i in range(len(stages)):
            maps = _stage(maps, size, stages[i], shared[i])
            size *= 2
        point_map(maps, size, head, number, out[n])
