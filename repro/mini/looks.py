"""What each concept looks like: a texture, a palette and, for everything with an outline, its parts.

Parts are written in a small language, separated by commas, in a box from -1 to 1 with y down and y = 1 on the ground::

    e3 cx cy rx ry        ellipse in colour slot 3
    r2 x0 y0 x1 y1        rectangle
    p0 x y x y x y ..     polygon
    l2 t x0 y0 x1 y1      line of thickness t
    w cx cy r             wheel: a disc in slot 2 with a hub in slot 3

Slot 0 is the textured body (its texture mixes colours 0 and 1), the others are flat. A colour is six hexadecimal
digits, alternatives are separated by "/"; "*" is a darker shade of the body colour drawn.
"""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
from numpy.typing import NDArray

from repro.mini.catalogue import CONCEPTS
from repro.mini.shapes import SHAPES, TEXTURES

# How many of a slot's alternative colours are drawn: a class keeps a palette that its name can be learned from.
_ALTERNATIVES = {"thing": 2, "stuff": 1}
_CIRCLE = np.stack([np.cos(np.arange(20) * np.pi / 10), np.sin(np.arange(20) * np.pi / 10)], 1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Look:
    """How a concept is drawn.

    ``colours`` (slots, alternatives, 3) are uint8 RGB triples; None stands for a darker shade of slot 0.
    ``points`` (P, 2) are the corners of all parts, ``parts`` their (slot, start, stop).
    """

    texture: str
    colours: tuple[tuple[tuple[int, int, int] | None, ...], ...]
    points: NDArray[np.float32]
    parts: tuple[tuple[int, int, int], ...]


def _ellipse(cx: float, cy: float, rx: float, ry: float) -> NDArray[np.float32]:
    return np.asarray(_CIRCLE * (rx, ry) + (cx, cy), np.float32)


def _line(t: float, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float32]:
    direction = np.array([x1 - x0, y1 - y0])
    nx, ny = np.array([-direction[1], direction[0]]) * (t / 2 / max(float(np.hypot(*direction)), 1e-6))
    return np.array([(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)], np.float32)


def _part(text: str) -> list[tuple[int, NDArray[np.float32]]]:
    word, *rest = text.split()
    v = [float(x) for x in rest]
    match word[0]:
        case "e":
            return [(int(word[1]), _ellipse(v[0], v[1], v[2], v[3]))]
        case "r":
            corners = [(v[0], v[1]), (v[2], v[1]), (v[2], v[3]), (v[0], v[3])]
            return [(int(word[1]), np.array(corners, np.float32))]
        case "p":
            return [(int(word[1]), np.array(v, np.float32).reshape(-1, 2))]
        case "l":
            return [(int(word[1]), _line(v[0], v[1], v[2], v[3], v[4]))]
        case "w":
            return [(2, _ellipse(v[0], v[1], v[2], v[2])), (3, _ellipse(v[0], v[1], v[2] * 0.45, v[2] * 0.45))]
    raise ValueError(f"unknown part {text!r}")


def _colour(text: str) -> tuple[int, int, int] | None:
    return None if text == "*" else (int(text[:2], 16), int(text[2:4], 16), int(text[4:6], 16))


def _look(row: str, alternatives: int) -> Look:
    texture, palette, shape = (field.strip() for field in row.split("|"))
    colours = tuple(tuple(_colour(c) for c in slot.split("/")[:alternatives]) for slot in palette.split())
    points: list[NDArray[np.float32]] = []
    parts: list[tuple[int, int, int]] = []
    start = 0
    for text in filter(None, (p.strip() for p in shape.split(","))):
        for slot, corners in _part(text):
            points.append(corners)
            parts.append((slot, start, start + len(corners)))
            start += len(corners)
    stacked = np.concatenate(points) if points else np.zeros((0, 2), np.float32)
    return Look(texture, colours, stacked, tuple(parts))


@cache
def looks() -> tuple[Look, ...]:
    """Return the look of every concept, in the order of :data:`~repro.mini.catalogue.CONCEPTS`."""
    rows = {**SHAPES, **TEXTURES}
    return tuple(_look(rows[concept.name], _ALTERNATIVES[concept.kind]) for concept in CONCEPTS)
