"""Which tokens attend to one another, compiled: sorting them takes torch many passes over small tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from repro.layers.loops import Ints, compiled

Bools = NDArray[np.bool_]


@compiled
def group(number: Ints, members: Ints, starts: Ints) -> None:
    """Write the tokens by ``number``, equal ones in their order, and where each number's begin (``starts`` is 0)."""
    for own in number:
        starts[own + 1] += 1
    for i in range(1, len(starts)):
        starts[i] += starts[i - 1]
    next_place = starts.copy()
    for token in range(len(number)):
        members[next_place[number[token]]] = token
        next_place[number[token]] += 1


@compiled
def divide(mask: Bools, k: int, order: Ints, place: Ints) -> None:
    """Write the tokens of maps ``mask`` (M, L), the ``k`` True of every map before all others, and the inverse."""
    maps, places = mask.shape
    front, back = 0, maps * k
    for i in range(maps):
        last = back + places - k
        for j in range(places):
            token = i * places + j
            # A map with fewer or more of them than k stays within its rows.
            if (mask[i, j] and front < (i + 1) * k) or back == last:
                order[front], place[token] = token, front
                front += 1
            else:
                order[back], place[token] = token, back
                back += 1


@compiled
def number_branches(
    mask: Bools, place: Ints, region: Ints, own: Ints, regions: int, classes: int, number: Ints, row: Ints
) -> None:
    """Write each token's list, one per branch, map and region, and its row of the guidance, by ``place`` of tokens.

    ``mask`` (M, L) tells the branches of the M maps apart, ``region`` (L) is that of a place and ``own`` (L) its row of
    the guidance of an image, the foreground's before the background's; an image has ``classes`` maps.
    """
    maps, places = mask.shape
    for i in range(maps):
        image = i // classes
        for j in range(places):
            token, branch = place[i * places + j], 1 - mask[i, j]
            number[token] = regions * (maps * branch + i) + region[j]
            row[token] = places * (2 * image + branch) + own[j]
