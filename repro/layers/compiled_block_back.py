"""The gradient of a block over lists of tokens in one pass, compiled: nothing is kept of the way forward.

A group of lists goes forward once more and then back before the next is taken: what would be kept is larger than the
cache, so that to compute it again is faster than to read it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from repro.layers.compiled_attention import longest_of, weight_rows, zeros
from repro.layers.compiled_attention_back import attend_pack_back, rooms_back
from repro.layers.compiled_block import (
    GROUP,
    Weights,
    add_affine,
    attend_group,
    gather,
    next_group,
    next_pack,
    project,
    scatter,
)
from repro.layers.compiled_products import (
    TILE,
    affine,
    both_gelu,
    both_relu,
    normalise,
    normalise_back,
    outer_onto,
    times,
)
from repro.layers.loops import Floats, Ints, compiled, fast
from repro.layers.vectors import LANES, ROWS


class Transposed(NamedTuple):
    """Matrices of a block from outputs (rows) to inputs (columns), as torch's linear maps hold them."""

    qkv: Floats
    proj: Floats
    fc1: Floats
    fc2: Floats


class Gradients(NamedTuple):
    """Gradients are added to these: a block's parameters, matrices as in :class:`Transposed`."""

    norm1: Floats
    norm1_bias: Floats
    qkv: Floats
    proj: Floats
    proj_bias: Floats
    norm2: Floats
    norm2_bias: Floats
    fc1: Floats
    fc1_bias: Floats
    fc2: Floats
    fc2_bias: Floats


@fast
def _bias(grad: Floats, count: int, out: Floats) -> None:
    """Add the sums over tokens to a bias's gradient."""
    sums = np.zeros_like(out)
    for t in range(count):
        for j in range(len(sums)):
            sums[j] += grad[t, j]
    out += sums


@fast
def _masked(x: Floats, count: int, slope: Floats) -> None:
    for t in range(count):
        for j in range(x.shape[1]):
            x[t, j] *= slope[t, j]


@fast
def _add(x: Floats, count: int, out: Floats) -> None:
    for t in range(count):
        for j in range(x.shape[1]):
            out[t, j] += x[t, j]


@fast
def _to_guidance(grad: Floats, place: Ints, members: Ints, first: int, count: int, table: Floats) -> None:
    """Add the gradient of q, k, v to the rows of the guidance that were added to them."""
    for t in range(count):
        row = place[members[first + t]]
        for j in range(table.shape[1]):
            table[row, j] += grad[t, j]


@compiled
def _matrix(x: Floats, grad: Floats, count: int, out: Floats) -> None:
    """Add to the gradient ``out`` of the matrix that ``count`` tokens ``x`` met by that of what came out, ``grad``."""
    for column in range(0, x.shape[1], LANES):
        for row in range(0, grad.shape[1], ROWS):
            outer_onto(grad, grad.shape[1], row, x, x.shape[1], column, count, out)


@compiled
def _back(grad: Floats, count: int, matrix: Floats, out: Floats) -> None:
    """Write the products of ``count`` gradients with a matrix from outputs to inputs."""
    for column in range(0, matrix.shape[1], LANES):
        for t in range(0, count, TILE):
            times(grad, matrix.shape[0], t, matrix, matrix.shape[1], column, out)


KEPT = 512
"""Tokens of a list up to which its weights are kept from the way forward: of more they leave the cache, and take as
much memory as the square of their number."""


@compiled
def room_for_weights(most: int, heads: int, keep: bool) -> Floats:
    """Return room for the weights of a group of at most so many tokens, or of 16 queries where they are not kept.

    Packs that follow one another have more than 16 tokens together, so that at most ``3 most / 16 + 1`` times 16
    queries are weighed.
    """
    times = heads * (3 * most // LANES + 2) if keep else 1
    return zeros(times * weight_rows(most), LANES)


@compiled
def run_block_back(
    x: Floats,
    table: Floats,
    place: Ints,
    members: Ints,
    starts: Ints,
    weights: Weights,
    transposed: Transposed,
    heads: int,
    grad: Floats,
    out: Floats,
    to_table: Floats,
    sums: Gradients,
) -> None:
    """Write the gradient of tokens ``x`` (R, C) by that of what the block made of them, ``grad`` (R, C), to ``out``.

    That of the guidance is added to ``to_table`` (P, 3 C), those of the parameters to ``sums``. The lists are those
    of :func:`~repro.layers.compiled_block.run_block`.
    """
    dim, hidden = x.shape[1], weights.fc1.shape[1]
    longest = max(GROUP, longest_of(starts))
    most = (longest + TILE - 1) // TILE * TILE + ROWS  # keys are taken ROWS at a time
    room, room_back = zeros(2 * dim // heads, LANES), rooms_back(dim // heads, most)
    keep = longest <= KEPT
    kept = room_for_weights(longest, heads, keep)
    tokens, normed, mixed, middle = zeros(most, dim), zeros(most, dim), zeros(most, dim), zeros(most, dim)
    second, last, moved, change = zeros(most, dim), zeros(most, dim), zeros(most, dim), zeros(most, dim)
    qkv, inner, slope, active = zeros(most, 3 * dim), zeros(most, hidden), zeros(most, hidden), zeros(most, hidden)
    by_qkv = zeros(most, 3 * dim)
    own, labels = np.arange(most), zeros(1, LANES)[0]
    at, lists = 0, starts.shape[0] - 1
    while at < lists:
        end = next_group(starts, at)
        first, count = starts[at], starts[end] - starts[at]
        # Forward, as run_block
        gather(x, table, place, members, first, count, tokens, qkv)
        source = project(tokens, count, weights, normed, qkv)
        attend_group(qkv, own, starts, at, end, labels, heads, room, kept, keep, mixed)
        middle[:count] = tokens[:count]
        add_affine(mixed, count, weights.proj, middle)
        normalise(middle, count, weights.norm1 if weights.after else weights.norm2, weights.eps, second)
        for column in range(0, hidden, LANES):
            for t in range(0, count, TILE):
                affine(second, dim, t, weights.fc1, hidden, column, inner)
        if weights.rectified:
            both_relu(inner, count * hidden // LANES, active, slope)
        else:
            both_gelu(inner, count * hidden // LANES, active, slope)
        # Back
        for t in range(count):
            moved[t] = grad[members[first + t]]
        if weights.after:
            last[:count] = second[:count]
            add_affine(active, count, weights.fc2, last)
            normalise_back(last, count, weights.norm2, weights.eps, moved, False, moved, sums.norm2, sums.norm2_bias)
        _matrix(active, moved, count, sums.fc2)
        _bias(moved, count, sums.fc2_bias)
        _back(moved, count, transposed.fc2, inner)
        _masked(inner, count, slope)
        _matrix(second, inner, count, sums.fc1)
        _bias(inner, count, sums.fc1_bias)
        _back(inner, count, transposed.fc1, change)
        if weights.after:
            _add(change, count, moved)
            normalise_back(middle, count, weights.norm1, weights.eps, moved, False, moved, sums.norm1, sums.norm1_bias)
        else:
            normalise_back(middle, count, weights.norm2, weights.eps, change, True, moved, sums.norm2, sums.norm2_bias)
        _matrix(mixed, moved, count, sums.proj)
        _bias(moved, count, sums.proj_bias)
        _back(moved, count, transposed.proj, change)
        by_qkv[:count] = 0
        i, weighed = at, 0
        while i < end:
            begin, i, several = next_pack(starts, i, end, labels)
            if starts[i] > starts[begin]:
                start, size = starts[begin] - first, starts[i] - starts[begin]
                rooms = (room_back, kept, weighed, keep)
                weighed = attend_pack_back(qkv, own, start, size, labels, several, heads, *rooms, change, by_qkv)
        _matrix(source, by_qkv, count, sums.qkv)
        _to_guidance(by_qkv, place, members, first, count, to_table)
        _back(by_qkv, count, transposed.qkv, change)
        if weights.after:
            _add(change, count, moved)
        else:
            normalise_back(tokens, count, weights.norm1, weights.eps, change, True, moved, sums.norm1, sums.norm1_bias)
        scatter(moved, members, first, count, out)
        at = end
