"""Compiled loops of the arg-max over classes, one strip of tiles after another (:mod:`repro.evaluation.pruned`).

Compiled by numba when first used and kept beside this file. They stand in one file because numba compiles a function
anew when its own file changes, but not when one it calls changes in another. A strip holds the logits (V, L, w, N) its
tiles rest on with the classes innermost, so that what is done to all classes runs along memory.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_KEPT = os.access(Path(__file__).parent, os.W_OK)
"""Where the package may not be written to, numba would keep what it compiled in the user's home."""
_compiled = njit(nogil=True, cache=_KEPT)
_fast = njit(nogil=True, cache=_KEPT, fastmath={"nnan", "ninf", "nsz", "contract", "reassoc", "arcp"})

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
LOWEST, HIGHEST = np.float32(-3e38), np.float32(3e38)
NEARLY = np.float32(1 - 1e-5)
"""Bounds and scores are sums in different orders: they may differ by less than this."""
# exp by Cephes: 2^k times a polynomial of what is left; it vectorises, the one of the C library does not.
_LOG2E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1, _P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
_P3, _P4, _P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_SMALLEST, _LARGEST = np.float32(-87), np.float32(88)


class Axis(NamedTuple):
    """Bilinear resizing along one axis: target i is first[i] (1 - weight[i]) + second[i] weight[i] of the source."""

    first: Ints
    second: Ints
    weight: Floats


class Geometry(NamedTuple):
    """How an image is made of its views: windows at ``tops`` and ``lefts``, then, if ``whole``, the whole image."""

    tops: Ints
    lefts: Ints
    window: int
    whole: bool
    softmax: bool
    rows: Axis
    """Image from canvas."""
    columns: Axis
    place: Axis
    """Canvas from the view of the whole image."""
    view_rows: Axis
    """View from logits."""
    view_columns: Axis
    cover: Floats
    """How many windows cover each row, and each column, of the canvas."""


class Spans(NamedTuple):
    """What a tile needs of each view, begin and end: rows and columns of the view, rows and columns of its logits."""

    seen: Flags
    rows: Ints
    columns: Ints
    logit_rows: Ints
    logit_columns: Ints


@_compiled
def exp_in_place(values: Floats, count: int, bits: NDArray[np.int32]) -> None:
    """Replace the first ``count`` values by their exponentials (relative error 1e-7); ``bits`` is room for them."""
    powers = bits.view(np.float32)
    for i in range(count):
        value = min(max(values[i], _SMALLEST), _LARGEST)
        k = np.floor(value * _LOG2E + HALF)
        rest = value - k * _LN2_HIGH
        rest = rest - k * _LN2_LOW
        p = ((((_P0 * rest + _P1) * rest + _P2) * rest + _P3) * rest + _P4) * rest + _P5
        values[i] = p * rest * rest + rest + ONE
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)
    for i in range(count):
        values[i] *= powers[i]


@_fast
def log_sum_exp(values: Floats, largest: float, bits: NDArray[np.int32]) -> float:
    """Return the logarithm of the sum of exponentials of ``values``, the largest of which is known; they are lost."""
    for i in range(len(values)):
        values[i] -= largest
    exp_in_place(values, len(values), bits)
    total = ZERO
    for i in range(len(values)):
        total += values[i]
    return largest + math.log(total)


@_compiled
def sigmoid_in_place(values: Floats, count: int, bits: NDArray[np.int32]) -> None:
    """Replace the first ``count`` values by their sigmoids."""
    for i in range(count):
        values[i] = -values[i]
    exp_in_place(values, count, bits)
    for i in range(count):
        values[i] = ONE / (ONE + values[i])


@_fast
def place_of_largest(values: Floats) -> int:
    """Return the first place of the largest value; two passes that vectorise, unlike one that remembers the place."""
    largest = LOWEST
    for i in range(len(values)):
        largest = max(largest, values[i])
    i = 0
    while values[i] != largest:
        i += 1
    return i


@_compiled
def find_rows(g: Geometry, begin: int, end: int, spans: Spans) -> tuple[int, int]:
    """Fill ``rows`` and ``logit_rows`` for canvas rows ``begin`` .. ``end``; return the most of each of any view."""
    pixels = logits = 0
    for v in range(len(spans.seen)):
        if v < len(g.tops):
            spans.rows[v, 0], spans.rows[v, 1] = max(0, begin - g.tops[v]), min(g.window, end - g.tops[v])
        else:
            spans.rows[v, 0], spans.rows[v, 1] = g.place.first[begin], g.place.second[end - 1] + 1
        if spans.rows[v, 1] > spans.rows[v, 0]:
            spans.logit_rows[v, 0] = g.view_rows.first[spans.rows[v, 0]]
            spans.logit_rows[v, 1] = g.view_rows.second[spans.rows[v, 1] - 1] + 1
            pixels = max(pixels, spans.rows[v, 1] - spans.rows[v, 0])
            logits = max(logits, spans.logit_rows[v, 1] - spans.logit_rows[v, 0])
    return pixels, logits


@_compiled
def find_columns(g: Geometry, begin: int, end: int, spans: Spans) -> None:
    """Fill ``columns``, ``logit_columns`` and ``seen`` for canvas columns ``begin`` .. ``end`` of a strip."""
    for v in range(len(spans.seen)):
        if v < len(g.tops):
            spans.columns[v, 0], spans.columns[v, 1] = max(0, begin - g.lefts[v]), min(g.window, end - g.lefts[v])
        else:
            spans.columns[v, 0], spans.columns[v, 1] = g.place.first[begin], g.place.second[end - 1] + 1
        spans.seen[v] = spans.rows[v, 1] > spans.rows[v, 0] and spans.columns[v, 1] > spans.columns[v, 0]
        if spans.seen[v]:
            spans.logit_columns[v, 0] = g.view_columns.first[spans.columns[v, 0]]
            spans.logit_columns[v, 1] = g.view_columns.second[spans.columns[v, 1] - 1] + 1


@_compiled
def load_strip(logits: Floats, spans: Spans, strip: Floats) -> None:
    """Copy the rows of logits (V, N, h, w) that a strip needs with the classes innermost."""
    classes, width = logits.shape[1], logits.shape[3]
    for v in range(len(logits)):
        if spans.rows[v, 1] <= spans.rows[v, 0]:
            continue
        first = spans.logit_rows[v, 0]
        for i in range(first, spans.logit_rows[v, 1]):
            for block in range(0, width, 16):  # a line of the cache
                for c in range(classes):
                    for j in range(block, min(width, block + 16)):
                        strip[v, i - first, j, c] = logits[v, c, i, j]


@_compiled
def likely_class(strip: Floats, spans: Spans, windows: int, total: Floats) -> int:
    """Return the class with the largest sum over the views of the logits in the middle of the tile."""
    total[:] = ZERO
    for v in range(len(strip)):
        if spans.seen[v]:
            i = (spans.logit_rows[v, 1] - spans.logit_rows[v, 0]) // 2
            j = (spans.logit_columns[v, 0] + spans.logit_columns[v, 1]) // 2
            share = ONE if v < windows else TWO
            for c in range(len(total)):
                total[c] += share * strip[v, i, j, c]
    return place_of_largest(total)


@_fast
def compare_corners(
    strip: Floats, rows: int, begin: int, end: int, likely: int, above: Floats, largest: Floats
) -> None:
    """Raise, over the logits of a tile in a view, ``largest`` to each class and ``above`` to it minus ``likely``."""
    for i in range(rows):
        for j in range(begin, end):
            reference = strip[i, j, likely]
            for c in range(len(above)):
                value = strip[i, j, c]
                largest[c] = max(largest[c], value)
                above[c] = max(above[c], value - reference)


@_fast
def normalise(
    g: Geometry, strip: Floats, spans: Spans, v: int, done: Flags, lines: Floats, line: Floats, bits: Any, found: Floats
) -> None:
    """Fill ``found`` (rows, window) with log-sum-exp over the classes at a tile's pixels of view ``v``, if not done."""
    classes = strip.shape[2]
    begin, end = spans.columns[v, 0], spans.columns[v, 1]
    while begin < end and done[begin]:
        begin += 1
    while begin < end and done[end - 1]:
        end -= 1
    if begin == end:
        return
    uppers, lowers, down = g.view_rows  # arrays by themselves: members of tuples are slow within loops
    lefts, rights, across = g.view_columns
    first, row = spans.logit_rows[v, 0], spans.rows[v, 0]
    for p in range(row, spans.rows[v, 1]):
        upper, lower, t = uppers[p] - first, lowers[p] - first, down[p]
        for j in range(lefts[begin], rights[end - 1] + 1):
            for c in range(classes):
                lines[j, c] = strip[upper, j, c] * (ONE - t) + strip[lower, j, c] * t
        for q in range(begin, end):
            left, right, s = lefts[q], rights[q], across[q]
            top = LOWEST
            for c in range(classes):
                line[c] = lines[left, c] * (ONE - s) + lines[right, c] * s
                top = max(top, line[c])
            found[p - row, q] = log_sum_exp(line, top, bits)
    done[begin:end] = True


@_compiled
def bound_scores(
    g: Geometry, spans: Spans, largest: Floats, normalisers: Floats, height: int, width: int, bits: Any, bound: Floats
) -> None:
    """Fill ``bound`` with what no score of a class exceeds in a tile of ``height`` x ``width`` canvas pixels.

    ``largest`` (V, N) are the largest logits and become the largest scores of each view.
    """
    windows, classes = len(g.tops), largest.shape[1]
    number, everywhere = 0, True
    bound[:] = ZERO
    for v in range(len(largest)):
        if not spans.seen[v]:
            continue
        if g.softmax:
            least = HIGHEST
            for p in range(spans.rows[v, 1] - spans.rows[v, 0]):
                for q in range(spans.columns[v, 0], spans.columns[v, 1]):
                    least = min(least, normalisers[v, p, q])
            for c in range(classes):
                largest[v, c] -= least
            exp_in_place(largest[v], classes, bits)
        else:
            sigmoid_in_place(largest[v], classes, bits)
        if v < windows:
            number += 1
            if spans.rows[v, 1] - spans.rows[v, 0] < height or spans.columns[v, 1] - spans.columns[v, 0] < width:
                everywhere = False
    for v in range(windows):
        if spans.seen[v]:
            for c in range(classes):  # a mean of windows, of others at other places of the tile
                bound[c] = bound[c] + largest[v, c] / np.float32(number) if everywhere else max(bound[c], largest[v, c])
    if g.whole:
        for c in range(classes):
            bound[c] = (bound[c] + largest[windows, c]) * HALF


@_fast
def view_scores(
    g: Geometry, strip: Floats, spans: Spans, v: int, c: int, normaliser: Floats, row: Floats, bits: Any, out: Floats
) -> None:
    """Fill ``out`` with the scores of class ``c`` at a tile's pixels of view ``v``, row after row."""
    uppers, lowers, down = g.view_rows
    lefts, rights, across = g.view_columns
    first, top, begin, end = spans.logit_rows[v, 0], spans.rows[v, 0], spans.columns[v, 0], spans.columns[v, 1]
    from_, to, softmax, count = spans.logit_columns[v, 0], spans.logit_columns[v, 1], g.softmax, 0
    for p in range(top, spans.rows[v, 1]):
        upper, lower, t = uppers[p] - first, lowers[p] - first, down[p]
        for j in range(from_, to):
            row[j] = strip[upper, j, c] * (ONE - t) + strip[lower, j, c] * t
        for q in range(begin, end):
            out[count + q - begin] = row[lefts[q]] * (ONE - across[q]) + row[rights[q]] * across[q]
        if softmax:
            for q in range(begin, end):
                out[count + q - begin] -= normaliser[p - top, q]
        count += end - begin
    if g.softmax:
        exp_in_place(out, count, bits)
    else:
        sigmoid_in_place(out, count, bits)


@_fast
def add_window(g: Geometry, spans: Spans, v: int, top: int, left: int, scores: Floats, fused: Floats) -> None:
    """Add the scores of a window to the tile's canvas pixels ``fused``, the first of which is (``top``, ``left``)."""
    down, across, begin, end = g.tops[v] - top, g.lefts[v] - left, spans.columns[v, 0], spans.columns[v, 1]
    count = 0
    for p in range(spans.rows[v, 0], spans.rows[v, 1]):
        for q in range(begin, end):
            fused[p + down, q + across] += scores[count + q - begin]
        count += end - begin


@_fast
def average(g: Geometry, spans: Spans, top: int, left: int, scores: Floats, fused: Floats) -> None:
    """Divide ``fused`` by the number of windows, and average it with ``scores`` of the view of the whole image."""
    firsts, seconds, weights = g.place
    cover, whole, (height, width) = g.cover, g.whole, fused.shape
    above, leftmost, line = spans.rows[-1, 0], spans.columns[-1, 0], spans.columns[-1, 1] - spans.columns[-1, 0]
    for i in range(height):
        for j in range(width):
            fused[i, j] /= cover[top + i] * cover[left + j]
        if not whole:
            continue
        upper, lower, t = (firsts[top + i] - above) * line, (seconds[top + i] - above) * line, weights[top + i]
        for j in range(width):
            a, b, s = firsts[left + j] - leftmost, seconds[left + j] - leftmost, weights[left + j]
            first = scores[upper + a] * (ONE - s) + scores[upper + b] * s
            second = scores[lower + a] * (ONE - s) + scores[lower + b] * s
            fused[i, j] = (fused[i, j] + first * (ONE - t) + second * t) * HALF


@_fast
def keep_larger(
    g: Geometry, y: int, x: int, top: int, left: int, name: int, fused: Floats, row: Floats, best: Floats, index: Any
) -> Any:
    """Bring ``fused`` to the image, name ``index`` (tile at ``y``, ``x``) where it is best; return the least best."""
    uppers, lowers, down = g.rows
    lefts, rights, across = g.columns
    least = HIGHEST
    for i in range(best.shape[0]):
        upper, lower, t = uppers[y + i] - top, lowers[y + i] - top, down[y + i]
        for j in range(fused.shape[1]):
            row[j] = fused[upper, j] * (ONE - t) + fused[lower, j] * t
        for j in range(best.shape[1]):
            s = across[x + j]
            score = row[lefts[x + j] - left] * (ONE - s) + row[rights[x + j] - left] * s
            if score > best[i, j] or (score == best[i, j] and name < index[y + i, x + j]):
                best[i, j] = score
                index[y + i, x + j] = name
            least = min(least, best[i, j])
    return least


@_compiled
def label_strips(
    g: Geometry, logits: Floats, last: int, tile: tuple[int, int], begin: int, end: int, index: Any, counts: Ints
) -> None:
    """Fill rows ``begin`` .. ``end`` of ``index`` (H, W) with labels, tile by tile; ``last`` stands for all from it on.

    ``logits`` (V, N, h, w). ``counts`` gains tiles, tiles decided by comparing logits, and classes computed in others.
    """
    views, classes, _, width = logits.shape
    windows, window = len(g.tops), g.window
    bits, best = np.empty(max(classes, window * window), np.int32), np.empty(tile, np.float32)
    above, bound, line = np.empty(classes, np.float32), np.empty(classes, np.float32), np.empty(classes, np.float32)
    largest, lines = np.empty((views, classes), np.float32), np.empty((width, classes), np.float32)
    room, row = np.empty(window * window, np.float32), np.empty(max(width, len(g.cover)), np.float32)
    empty = (views, 2)
    spans = Spans(
        np.zeros(views, np.bool_),
        np.zeros(empty, np.int64),
        np.zeros(empty, np.int64),
        np.zeros(empty, np.int64),
        np.zeros(empty, np.int64),
    )
    for y in range(begin, end, tile[0]):
        height = min(tile[0], end - y)
        top, bottom = g.rows.first[y], g.rows.second[y + height - 1] + 1
        pixels, length = find_rows(g, top, bottom, spans)
        strip = np.empty((views, length, width, classes), np.float32)
        load_strip(logits, spans, strip)
        normalisers = np.empty((views, pixels, window) if g.softmax else (views, 1, 1), np.float32)
        done = np.zeros((views, window), np.bool_)
        for x in range(0, index.shape[1], tile[1]):
            across = min(tile[1], index.shape[1] - x)
            left, right = g.columns.first[x], g.columns.second[x + across - 1] + 1
            find_columns(g, left, right, spans)
            likely = likely_class(strip, spans, windows, bound)
            above[:], largest[:] = LOWEST, LOWEST
            for v in range(views):
                if spans.seen[v]:
                    rows = spans.logit_rows[v, 1] - spans.logit_rows[v, 0]
                    columns = spans.logit_columns[v]
                    compare_corners(strip[v], rows, columns[0], columns[1], likely, above, largest[v])
            counts[0] += 1
            rivals = 0
            for c in range(classes):  # of equal scores the first class is meant
                if above[c] > ZERO or (above[c] == ZERO and c < likely):
                    rivals += 1
                else:
                    above[c] = LOWEST
            if rivals == 0:
                index[y : y + height, x : x + across] = min(likely, last)
                counts[1] += 1
                continue
            if g.softmax:
                for v in range(views):
                    if spans.seen[v]:
                        normalise(g, strip[v], spans, v, done[v], lines, line, bits, normalisers[v])
            bound_scores(g, spans, largest, normalisers, bottom - top, right - left, bits, bound)
            for c in range(classes):
                if above[c] == LOWEST:
                    bound[c] = -ONE
            bound[likely] = HIGHEST
            fused, found = np.empty((bottom - top, right - left), np.float32), best[:height, :across]
            found[:] = -ONE
            least = -ONE
            while True:  # the most promising class first, until no other can win at any pixel
                c = place_of_largest(bound)
                if bound[c] < ZERO or bound[c] < least * NEARLY:
                    break
                bound[c] = -ONE
                counts[2] += 1
                fused[:] = ZERO
                for v in range(views):
                    if spans.seen[v]:
                        view_scores(g, strip[v], spans, v, c, normalisers[v], row, bits, room)
                        if v < windows:
                            add_window(g, spans, v, top, left, room, fused)
                average(g, spans, top, left, room, fused)
                least = keep_larger(g, y, x, top, left, min(c, last), fused, row, found, index)
