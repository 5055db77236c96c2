"""A picture a person can judge the miniature by: scenes, their labels, and every concept by name."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from repro.files import write_atomic
from repro.mini.catalogue import CONCEPTS
from repro.mini.scenes import Scene, render_crop

_INK = (24, 24, 24)


def concept_colours() -> NDArray[np.uint8]:
    """Return a distinct colour (N, 3) for every concept; stuff is paler than things."""
    colours = []
    for index, concept in enumerate(CONCEPTS):
        hue = (index * 0.61803398875) % 1
        saturation, value = (0.85, 0.95) if concept.kind == "thing" else (0.4, 0.8)
        colours.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.round(np.array(colours) * 255).astype(np.uint8)


def label_overlay(scene: Scene, strength: float = 0.65) -> NDArray[np.uint8]:
    """Return the scene (H, W, 3) tinted by concept, instances and regions outlined in black."""
    colour = concept_colours()[scene.concepts].astype(np.float32)
    mixed = colour * strength + scene.image * (1 - strength)
    key = scene.concepts.astype(np.int32) * 4096 + scene.instances
    edge = np.zeros(key.shape, bool)
    edge[:, 1:] |= key[:, 1:] != key[:, :-1]
    edge[1:] |= key[1:] != key[:-1]
    mixed[edge] = 0
    return mixed.astype(np.uint8)


def contact_sheet(scenes: Sequence[Scene], path: Path, columns: int = 8, crop: int = 80, seed: int = 0) -> Path:
    """Write a PNG with every scene above its label overlay and largest names, then a named crop of every concept.

    Raises ValueError without scenes, ResourceError where ``path`` cannot be written.
    """
    if not scenes:
        raise ValueError("a contact sheet needs at least one scene")
    font = ImageFont.load_default(10)
    cell_w = max(s.image.shape[1] for s in scenes)
    cell_h = max(s.image.shape[0] for s in scenes)
    rows = -(-len(scenes) // columns)
    width = columns * (cell_w + 6)
    per_row = max(1, width // (crop + 14))
    crop_w = width // per_row
    top = rows * (2 * cell_h + 32)
    crop_rows = -(-len(CONCEPTS) // per_row)
    sheet = Image.new("RGB", (width, top + crop_rows * (crop + 16) + 6), "white")
    draw = ImageDraw.Draw(sheet)
    for position, scene in enumerate(scenes):
        x, y = position % columns * (cell_w + 6), position // columns * (2 * cell_h + 32)
        sheet.paste(Image.fromarray(scene.image), (x, y))
        sheet.paste(Image.fromarray(label_overlay(scene)), (x, y + cell_h + 2))
        names = [CONCEPTS[c].name for c, _ in scene.visible[:6]]
        draw.text((x, y + 2 * cell_h + 2), _fitted(scene.setting + ": " + ", ".join(names[:2]), cell_w), _INK, font)
        draw.text((x, y + 2 * cell_h + 14), _fitted(", ".join(names[2:]), cell_w), _INK, font)
    rng = np.random.default_rng(seed)
    for index, concept in enumerate(CONCEPTS):
        x, y = index % per_row * crop_w, top + index // per_row * (crop + 16)
        sheet.paste(Image.fromarray(render_crop(rng, index, crop)), (x, y))
        ink = _INK if concept.kind == "thing" else (0, 70, 160)
        draw.text((x, y + crop + 1), _fitted(concept.name, crop_w), ink, font)
    write_atomic(path, lambda stream: sheet.save(stream, format="PNG", compress_level=1))  # half the time
    return path


def _fitted(text: str, pixels: int) -> str:
    return text[: max(4, pixels // 5)]
