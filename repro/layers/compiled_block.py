"""A Swin block over lists of tokens in one pass, compiled: what is between stays in the first levels of cache.

With few channels an operator of torch does little with a number before it leaves the cache. Here a group of lists goes
through the whole block before the next is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from repro.layers.compiled_attention import attend_pack, furthest, longest_of, raise_norms, weight_rows, zeros
from repro.layers.compiled_products import TILE, affine_gelu, affine_onto, affine_relu, normalise, onto
from repro.layers.loops import Floats, Ints, compiled, fast
from repro.layers.vectors import LANES

GROUP = 96
"""Tokens that go through the block together: many enough for whole tiles, few enough for the cache."""


class Weights(NamedTuple):
    """Parameters of a block of C channels and H hidden ones; matrices from inputs (rows) to outputs (columns)."""

    norm1: Floats
    """Weight and bias (2, C)."""
    qkv: Floats
    """(C, 3 C)."""
    proj: Floats
    """(C, C), with the bias as last row: (C + 1, C)."""
    norm2: Floats
    fc1: Floats
    """(C + 1, H)."""
    fc2: Floats
    """(H + 1, C)."""
    eps: float
    after: bool
    """Whether norms follow the residuals, as in CLIPSeg's decoder, or come first in each branch, as in Swin."""
    rectified: bool
    """Whether the hidden activation is a ReLU or a GELU."""


@fast
def gather(
    x: Floats, table: Floats, place: Ints, members: Ints, first: int, count: int, tokens: Floats, qkv: Floats
) -> None:
    """Copy the rows of ``count`` members, and of what the guidance adds to them."""
    for t in range(count):
        token = members[first + t]
        row = place[token]
        for j in range(x.shape[1]):
            tokens[t, j] = x[token, j]
        for j in range(table.shape[1]):
            qkv[t, j] = table[row, j]


@fast
def scatter(tokens: Floats, members: Ints, first: int, count: int, out: Floats) -> None:
    """Write the rows of ``count`` members to their places."""
    for t in range(count):
        token = members[first + t]
        for j in range(out.shape[1]):
            out[token, j] = tokens[t, j]


@compiled
def next_pack(starts: Ints, i: int, lists: int, labels: Floats) -> tuple[int, int, bool]:
    """Return list ``i``, the one after the last that shares a vector with it, and whether several are not empty.

    Writes which of them each of 16 tokens is in to ``labels``; lists of more tokens are alone.
    """
    end, filled = i, 0
    while end == i or (end < lists and starts[end + 1] - starts[i] <= LANES):
        if starts[end + 1] > starts[end]:
            labels[starts[end] - starts[i] :] = end - i
            filled += 1
        end += 1
    return i, end, filled > 1


@compiled
def next_group(starts: Ints, at: int) -> int:
    """Return the list after the last one of the group that begins with list ``at``."""
    end, lists = at + 1, starts.shape[0] - 1
    while end < lists and starts[end + 1] - starts[at] <= GROUP:
        end += 1
    return end


@compiled
def project(source: Floats, count: int, weights: Weights, normed: Floats, qkv: Floats) -> Floats:
    """Add the q, k, v of ``count`` tokens to what the guidance gave; return what they were made of."""
    dim = source.shape[1]
    if not weights.after:
        normalise(source, count, weights.norm1, weights.eps, normed)
        source = normed
    for column in range(0, 3 * dim, LANES):
        for t in range(0, count, TILE):
            onto(source, dim, t, weights.qkv, 3 * dim, column, qkv)
    return source


@compiled
def attend_group(
    qkv: Floats,
    own: Ints,
    starts: Ints,
    at: int,
    end: int,
    labels: Floats,
    heads: int,
    room: Floats,
    kept: Floats,
    keep: bool,
    out: Floats,
) -> None:
    """Write the attention of lists ``at`` to ``end``, that one not among them, each over its own tokens, to ``out``.

    For ``kept`` and ``keep`` see :func:`~repro.layers.compiled_attention.attend_pack`.
    """
    i, place = at, 0
    while i < end:
        begin, i, several = next_pack(starts, i, end, labels)
        if starts[i] > starts[begin]:
            size = starts[i] - starts[begin]
            first = starts[begin] - starts[at]
            place = attend_pack(qkv, own, first, size, labels, several, heads, room, kept, place, keep, out)


@compiled
def add_affine(x: Floats, count: int, matrix: Floats, out: Floats) -> None:
    """Add what a linear map with a bias makes of ``count`` tokens to ``out``."""
    for column in range(0, out.shape[1], LANES):
        for t in range(0, count, TILE):
            affine_onto(x, x.shape[1], t, matrix, out.shape[1], column, out)


@compiled
def run_block(
    x: Floats,
    table: Floats,
    place: Ints,
    members: Ints,
    starts: Ints,
    weights: Weights,
    heads: int,
    bounded: bool,
    out: Floats,
) -> float:
    """Write what the block makes of tokens ``x`` (R, C) to ``out`` (R, C), those of the lists alone.

    List i has the tokens ``members[starts[i] : starts[i + 1]]``, which attend to one another; each token is in one at
    most. What the guidance adds to q, k, v is row ``place`` (R) of ``table`` (P, 3 C), biases included. Returns, if
    ``bounded``, a bound of how far two scores of one query can be apart.
    """
    dim, hidden = x.shape[1], weights.fc1.shape[1]
    most = (max(GROUP, longest_of(starts)) + TILE - 1) // TILE * TILE
    room, weighed = zeros(2 * dim // heads, LANES), zeros(weight_rows(most), LANES)
    largest = np.zeros(2 * heads, np.float32)
    tokens, normed, mixed = zeros(most, dim), zeros(most, dim), zeros(most, dim)
    qkv, inner = zeros(most, 3 * dim), zeros(most, hidden)
    own, labels = np.arange(most), zeros(1, LANES)[0]
    at, lists = 0, starts.shape[0] - 1
    while at < lists:
        end = next_group(starts, at)
        first, count = starts[at], starts[end] - starts[at]
        gather(x, table, place, members, first, count, tokens, qkv)
        source = project(tokens, count, weights, normed, qkv)
        if bounded:
            raise_norms(qkv, count, heads, largest)
        attend_group(qkv, own, starts, at, end, labels, heads, room, weighed, False, mixed)
        add_affine(mixed, count, weights.proj, tokens)
        normalise(tokens, count, weights.norm1 if weights.after else weights.norm2, weights.eps, source)
        for column in range(0, hidden, LANES):
            for t in range(0, count, TILE):
                if weights.rectified:
                    affine_relu(source, dim, t, weights.fc1, hidden, column, inner)
                else:
                    affine_gelu(source, dim, t, weights.fc1, hidden, column, inner)
        add_affine(inner, count, weights.fc2, tokens)
        if weights.after:
            normalise(tokens, count, weights.norm2, weights.eps, tokens)
        scatter(tokens, members, first, count, out)
        at = end
    return furthest(largest, heads, dim // heads)
