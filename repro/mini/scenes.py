"""Scenes of the miniature: an image, its concepts and its instances, drawn from a generator."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.errors import unknown_name
from repro.mini.catalogue import CONCEPTS, INDEX, concept_labels
from repro.mini.looks import Look, looks
from repro.mini.patterns import pattern
from repro.mini.settings import SETTINGS, Layer, Setting

Image = NDArray[np.uint8]
Labels = NDArray[np.int16]

_SHIFT = 4
_TILTED = frozenset(INDEX[n] for n in ("kite", "surfboard", "airplane", "guitar", "book", "banana", "umbrella"))
_ALSO_FILLS = frozenset(INDEX[n] for n in ("tree", "bush", "flower", "building-other", "skyscraper", "mountain", "rock",
    "straw", "curtain", "fence", "tent", "rug"))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Scene:
    """``image`` (H, W, 3) RGB; ``concepts`` (H, W) index into CONCEPTS; ``instances`` (H, W) 0 = stuff, 1.. = things.

    Instance numbers have no gaps; every pixel has a concept. ``visible`` lists (concept, pixels), largest first.
    """

    image: Image
    concepts: Labels
    instances: Labels
    setting: str

    def values(self, names: tuple[str, ...], values: Sequence[int], otherwise: int) -> NDArray[np.uint16]:
        """Return (H, W): where a concept of class ``names[i]`` is shown ``values[i]``, elsewhere ``otherwise``."""
        return np.take(_table(names, tuple(values), otherwise), self.concepts)

    @property
    def visible(self) -> tuple[tuple[int, int], ...]:
        """(concept index, visible pixels) of every concept in the picture, largest first."""
        counts = np.bincount(self.concepts.ravel(), minlength=len(CONCEPTS))
        order = np.argsort(-counts, kind="stable")
        return tuple((int(c), int(counts[c])) for c in order if counts[c])


@cache
def _table(names: tuple[str, ...], values: tuple[int, ...], otherwise: int) -> NDArray[np.uint16]:
    """Return concept index -> source value."""
    return np.array([otherwise if label < 0 else values[label] for label in concept_labels(names, -1)], np.uint16)


class _Canvas:
    """The picture being painted, back to front."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.h, self.w = height, width
        self.side = min(height, width)
        self.image = np.zeros((height, width, 3), np.float32)
        self.concepts = np.zeros((height, width), np.int16)
        self.instances = np.zeros((height, width), np.int16)
        self.things = 0

    def _body(self, look: Look, h: int, w: int, unit: float) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the textured body colour (h, w, 3) of a look and the flat colour of every slot, both jittered."""
        jitter = self.rng.normal(1, 0.06, 3) * self.rng.uniform(0.85, 1.12)
        chosen: list[NDArray[np.float32]] = []
        for options in look.colours:
            rgb = options[int(self.rng.integers(len(options)))]
            chosen.append(chosen[0] * np.float32(0.72) if rgb is None else np.asarray(rgb * jitter, np.float32))
        second = chosen[1] if len(chosen) > 1 else chosen[0]
        field = pattern(look.texture, self.rng, h, w, unit)[..., None]
        return chosen[0] + field * (second - chosen[0]), chosen

    def fill(self, concept: int, polygon: NDArray[np.float32] | None, unit: float) -> None:
        """Fill a polygon (P, 2) in pixels, or everything, with the texture of a stuff concept."""
        x0, y0, x1, y1 = 0, 0, self.w, self.h
        if polygon is not None:
            low, high = np.floor(polygon.min(0)).astype(int), np.ceil(polygon.max(0)).astype(int) + 1
            x0, y0, x1, y1 = max(low[0], 0), max(low[1], 0), min(high[0], self.w), min(high[1], self.h)
            if x0 >= x1 or y0 >= y1:
                return
        body, _ = self._body(looks()[concept], y1 - y0, x1 - x0, unit)
        if polygon is None:
            self.image[:] = body
            self.concepts[:], self.instances[:] = concept, 0
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [_fixed(polygon - (x0, y0))], 1, shift=_SHIFT)
        self._paste(mask.view(bool), body, x0, y0, concept, 0)

    def stamp(self, concept: int, cx: float, base: float, half: float) -> None:
        """Draw a concept with parts: ``cx`` its middle, ``base`` its lowest line, ``half`` half its extent, pixels."""
        look, rng = looks()[concept], self.rng
        angle = rng.uniform(-0.5, 0.5) if concept in _TILTED else rng.normal(0, 0.04)
        sx, sy = half * rng.uniform(0.88, 1.12), half * rng.uniform(0.88, 1.12)
        flip = -1.0 if rng.random() < 0.5 else 1.0
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.array([[cos * sx * flip, sin * sx * flip], [-sin * sy, cos * sy]], np.float32)
        points = look.points @ matrix + np.array([cx, base - sy], np.float32)
        low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
        x0, y0, x1, y1 = max(low[0], 0), max(low[1], 0), min(high[0], self.w), min(high[1], self.h)
        if x0 >= x1 or y0 >= y1:
            return
        slots = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corners = _fixed(points - (x0, y0))
        for slot, start, stop in look.parts:
            cv2.fillPoly(slots, [corners[start:stop]], slot + 1, shift=_SHIFT)
        body, flat = self._body(look, y1 - y0, x1 - x0, half / 14)
        palette = np.stack([flat[0], *flat])
        colour = np.where((slots == 1)[..., None], body, palette[slots])
        light = np.linspace(1.12, 0.86, y1 - y0, dtype=np.float32)[:, None, None]
        instance = 0
        if CONCEPTS[concept].kind == "thing":
            self.things += 1
            instance = self.things
        self._paste(slots > 0, colour * light, x0, y0, concept, instance)

    def _paste(
        self, mask: NDArray[np.bool_], colour: NDArray[np.float32], x0: int, y0: int, concept: int, instance: int
    ) -> None:
        window = slice(y0, y0 + mask.shape[0]), slice(x0, x0 + mask.shape[1])
        np.copyto(self.image[window], colour, where=mask[..., None])
        self.concepts[window][mask] = concept
        self.instances[window][mask] = instance

    def finish(self, setting: str) -> Scene:
        """Add light, blur and noise; number instances without gaps."""
        rng = self.rng
        gain = rng.uniform(0.78, 1.16) * rng.normal(1, 0.04, 3)
        tilt = rng.uniform(-0.14, 0.14)
        light = np.float32(1) + np.linspace(-tilt, tilt, self.w, dtype=np.float32)[None, :, None]
        image = self.image * (light * gain.astype(np.float32))
        image = cv2.GaussianBlur(image, (3, 3), 0.45)
        amount = rng.uniform(2, 9)
        grain = rng.integers(0, 256, image.shape, np.uint8).astype(np.float32) - 127.5
        image = np.clip(image + grain * np.float32(amount / 74), 0, 255)
        seen = np.unique(self.instances)
        rank = np.zeros(self.things + 1, np.int16)
        rank[seen[seen > 0]] = np.arange(1, int((seen > 0).sum()) + 1, dtype=np.int16)
        return Scene(image.astype(np.uint8), self.concepts, rank[self.instances], setting)


def _fixed(points: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


@cache
def _cumulative() -> NDArray[np.float64]:
    weights = np.array([s.weight for s in SETTINGS.values()])
    return np.asarray(np.cumsum(weights / weights.sum()))


def render_scene(
    rng: np.random.Generator,
    height: int,
    width: int,
    setting: str | None = None,
    exclude: Collection[str] | None = None,
) -> Scene:
    """Draw one scene, determined by the state of ``rng``; ``setting`` is drawn by weight where it is not named.

    ``exclude`` are catalogue names that must not appear; where a setting has nothing else to fill a region with,
    another stuff concept takes its place. Raises UsageError for an unknown setting or name.
    """
    if setting is None:
        names = list(SETTINGS)
        setting = names[min(int(np.searchsorted(_cumulative(), rng.random(), "right")), len(names) - 1)]
    elif setting not in SETTINGS:
        raise unknown_name("setting", setting, SETTINGS, mend="name one of them, or none")
    banned: frozenset[int] = frozenset()
    if exclude:
        for name in exclude:
            if name not in INDEX:
                raise unknown_name("concept", name, INDEX, mend="name one of them in exclude")
        banned = frozenset(INDEX[name] for name in exclude)
    canvas = _Canvas(rng, height, width)
    _compose(canvas, SETTINGS[setting], banned)
    return canvas.finish(setting)


def _compose(canvas: _Canvas, setting: Setting, banned: frozenset[int]) -> None:
    rng, w = canvas.rng, canvas.w
    horizon = float(rng.uniform(*setting.horizon)) * canvas.h
    unit = canvas.side / 64 * rng.uniform(0.75, 1.3)
    standing: list[tuple[float, int, float]] = []
    for layer in setting.layers:
        options = [o for o in layer.options if o not in banned]
        if not options and layer.role in ("top", "bottom"):
            options = [i for i, c in enumerate(CONCEPTS) if c.kind == "stuff" and not c.size and i not in banned]
        count = int(rng.integers(layer.count[0], layer.count[1] + 1)) if options else 0
        for _ in range(count):
            concept = options[int(rng.integers(len(options)))]
            if layer.role in ("stand", "small"):
                depth = float(rng.random()) ** 1.3
                near = 0.4 + 0.9 * depth if layer.role == "stand" else 0.7 + 0.5 * depth
                base = horizon + (canvas.h - horizon) * (0.08 + 1.0 * depth)
                standing.append((base, concept, CONCEPTS[concept].size * near * rng.uniform(0.7, 1.35)))
            else:
                _background(canvas, layer, concept, horizon, unit)
    for base, concept, size in sorted(standing):
        x = rng.uniform(0.05, 0.95) * w
        if CONCEPTS[concept].size:
            canvas.stamp(concept, x, base, size * canvas.side)
        else:
            canvas.fill(concept, _blob(rng, x, base, 0.25 * canvas.side), unit)


def _background(canvas: _Canvas, layer: Layer, concept: int, horizon: float, unit: float) -> None:
    rng, h, w, side = canvas.rng, canvas.h, canvas.w, canvas.side
    size = CONCEPTS[concept].size * side
    match layer.role:
        case "top":
            canvas.fill(concept, None, unit)
        case "bottom":
            canvas.fill(concept, _box(0, horizon, w, h), unit)
        case "band":
            canvas.fill(concept, _ridge(rng, w, horizon, rng.uniform(0.08, 0.26) * h), unit)
        case "far":
            canvas.stamp(concept, rng.uniform(0, 1) * w, horizon + 1, size * rng.uniform(0.55, 1.1))
        case "wedge":
            top, bottom = rng.uniform(0.2, 0.8) * w, rng.uniform(0.1, 0.9) * w
            near, far = rng.uniform(0.2, 0.55) * w, rng.uniform(0.02, 0.12) * w
            corners = [(top - far, horizon), (top + far, horizon), (bottom + near, h), (bottom - near, h)]
            canvas.fill(concept, np.array(corners, np.float32), unit)
        case "strip":
            y = horizon + rng.uniform(0.1, 0.6) * (h - horizon)
            canvas.fill(concept, _box(0, y, w, y + rng.uniform(0.16, 0.3) * h), unit)
        case "wall" | "air":
            x, base = rng.uniform(0.08, 0.92) * w, horizon * rng.uniform(0.35, 0.95)
            canvas.stamp(concept, x, base, size * rng.uniform(0.5, 1.1))
        case "hang":
            half = size * rng.uniform(0.7, 1.2)
            canvas.stamp(concept, rng.uniform(0.15, 0.85) * w, 1.9 * half, half)


def _box(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float32]:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32)


def _ridge(rng: np.random.Generator, w: int, horizon: float, height: float) -> NDArray[np.float32]:
    xs = np.linspace(0, w, 8)
    top = horizon - height * rng.uniform(0.5, 1.0, 8)
    return np.asarray(np.concatenate([np.stack([xs, top], 1), [(w, horizon + 1), (0, horizon + 1)]]), np.float32)


def _blob(rng: np.random.Generator, x: float, base: float, half: float) -> NDArray[np.float32]:
    angles = np.arange(12) * (np.pi / 6)
    radius = half * rng.uniform(0.7, 1.1, 12)
    return np.stack([x + 1.6 * radius * np.cos(angles), base - half + 0.6 * radius * np.sin(angles)], 1).astype(
        np.float32
    )


@cache
def _surroundings() -> tuple[tuple[int, ...], ...]:
    """Return what fills the settings of every concept: plausible grounds for its crops."""
    found: list[set[int]] = [set() for _ in CONCEPTS]
    for setting in SETTINGS.values():
        fills = {o for layer in setting.layers if layer.role in ("top", "bottom") for o in layer.options}
        for layer in setting.layers:
            for option in layer.options:
                found[option] |= fills
    plain = {i for i, c in enumerate(CONCEPTS) if c.kind == "stuff" and not c.size}
    return tuple(tuple(sorted((f or plain) - {i})) for i, f in enumerate(found))


def render_crop(
    rng: np.random.Generator, concept_index: int, size: int, scale: tuple[float, float] = (0.62, 1.08)
) -> Image:
    """Return a square crop (size, size, 3) that shows one concept before a plausible ground.

    A concept with an outline spans ``scale`` (least, most) of the crop; stuff without one fills all of it or, in half
    of the crops, at least half. IndexError for an unknown concept.
    """
    return crop_scene(rng, concept_index, size, scale).image


def crop_scene(
    rng: np.random.Generator,
    concept_index: int,
    size: int,
    scale: tuple[float, float],
    grain: tuple[float, float] = (0.8, 2.0),
    frame: int | None = None,
) -> Scene:
    """Return what :func:`render_crop` does with its labels.

    ``grain`` (finest, coarsest) scales the textures of stuff, measured for a picture of ``frame`` pixels (``size``
    unless given): a small crop with the texture of a larger picture is a part of it.
    """
    concept = CONCEPTS[concept_index]
    canvas = _Canvas(rng, size, size)
    around = _surroundings()[concept_index]
    ground = around[int(rng.integers(len(around)))]
    unit = (frame or size) / 64 * rng.uniform(*grain)
    if concept.size == 0 or (concept_index in _ALSO_FILLS and rng.random() < 0.35):
        canvas.fill(concept_index, None, unit)
        if rng.random() < 0.5:
            edge = rng.uniform(0.55, 0.95) * size
            box = _box(0, edge, size, size) if rng.random() < 0.5 else _box(0, 0, size, size - edge)
            canvas.fill(ground, box, unit)
    else:
        canvas.fill(ground, None, unit)
        if rng.random() < 0.5:
            canvas.fill(around[int(rng.integers(len(around)))], _box(0, rng.uniform(0.4, 0.8) * size, size, size), unit)
        half = 0.5 * size * rng.uniform(*scale)
        slack = abs(0.5 * size - half) * 0.8 + 0.05 * size
        x, y = 0.5 * size + rng.uniform(-1, 1, 2) * slack
        canvas.stamp(concept_index, float(x), float(y) + half, half)
    return canvas.finish("crop")
