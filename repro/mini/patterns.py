"""Textures as mixing fields: 0 shows a look's first colour, 1 its second.

Lengths are in 1/64 of the shorter side of a scene, times ``unit`` pixels: a scene looks the same at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Pattern = Callable[[np.random.Generator, int, int, float], Field]


def noise(rng: np.random.Generator, h: int, w: int, unit: float, sx: float = 4, sy: float = 4) -> Field:
    """Return smooth noise (h, w) in 0..1 with grains of about sx by sy."""
    rows, cols = max(2, round(h / (sy * unit)) + 1), max(2, round(w / (sx * unit)) + 1)
    small = rng.random((min(rows, 2 * h + 2), min(cols, 2 * w + 2)), dtype=np.float32)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _axes(rng: np.random.Generator, h: int, w: int, unit: float) -> tuple[Field, Field]:
    """Return coordinates x (1, w) and y (h, 1) in pattern units with a random origin and +-12 % scale."""
    dx, dy = rng.random(2, dtype=np.float32) * 64
    scale = np.float32(1 / (unit * rng.uniform(0.88, 1.14)))
    x = np.arange(w, dtype=np.float32)[None] * scale + dx
    y = np.arange(h, dtype=np.float32)[:, None] * scale + dy
    return x, y


def _plain(rng: np.random.Generator, h: int, w: int, unit: float) -> Field:
    return noise(rng, h, w, unit, 16, 16) * np.float32(0.5)


def _grain(rng: np.random.Generator, h: int, w: int, unit: float, sx: float, sy: float, gain: float = 1.0) -> Field:
    field = noise(rng, h, w, unit, sx, sy)
    return np.asarray(np.clip((field - 0.5) * gain + 0.5, 0, 1), np.float32)


def _mix(rng: np.random.Generator, h: int, w: int, unit: float, coarse: float, fine: float) -> Field:
    both = noise(rng, h, w, unit, coarse, coarse) * 0.6 + noise(rng, h, w, unit, fine, fine) * 0.4
    return np.asarray(np.clip(both * 2 - 0.5, 0, 1), np.float32)


def _stripes(
    rng: np.random.Generator, h: int, w: int, unit: float, period: float, duty: float, along: str, wobble: float = 0
) -> Field:
    x, y = _axes(rng, h, w, unit)
    base, other = (x, y) if along == "x" else (y, x)
    phase = base / period + np.zeros_like(other)
    if wobble:
        phase = phase + wobble * noise(rng, h, w, unit, 6, 6)
    return np.asarray(phase % 1 < duty, np.float32)


def _bricks(rng: np.random.Generator, h: int, w: int, unit: float, bw: float, bh: float, line: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    row = np.floor(y / bh)
    seam = (y % bh < line) | ((x + (row % 2) * bw / 2) % bw < line)
    return np.asarray(seam * 1.0 + (~seam) * noise(rng, h, w, unit, bw, bh) * 0.35, np.float32)


def _grid(rng: np.random.Generator, h: int, w: int, unit: float, px: float, py: float, line: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    return ((x % px < line) | (y % py < line)).astype(np.float32)


def _windows(rng: np.random.Generator, h: int, w: int, unit: float, px: float, py: float, fill: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    return ((x % px < px * fill) & (y % py < py * fill)).astype(np.float32)


def _checks(rng: np.random.Generator, h: int, w: int, unit: float, period: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    return np.asarray((np.floor(x / period) + np.floor(y / period)) % 2, np.float32)


def _diamonds(rng: np.random.Generator, h: int, w: int, unit: float, period: float, line: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    return (((x + y) % period < line) | ((x - y) % period < line)).astype(np.float32)


def _spots(rng: np.random.Generator, h: int, w: int, unit: float, size: float, level: float) -> Field:
    return (noise(rng, h, w, unit, size, size) > level).astype(np.float32)


def _dots(rng: np.random.Generator, h: int, w: int, unit: float, period: float, radius: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    y = y + (np.floor(x / period) % 2) * period / 2
    return np.asarray(
        ((x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < radius**2).astype(np.float32), np.float32
    )


def _folds(rng: np.random.Generator, h: int, w: int, unit: float, period: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    return np.asarray(0.5 + 0.5 * np.sin(x * (2 * np.pi / period) + 0.02 * y), np.float32)


def _waves(rng: np.random.Generator, h: int, w: int, unit: float, period: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    swell = np.sin(y * (2 * np.pi / period) + 1.2 * np.sin(x * 0.35))
    return np.asarray(np.clip(0.4 + 0.35 * swell + 0.5 * (noise(rng, h, w, unit, 6, 1.5) - 0.5), 0, 1), np.float32)


def _rails(rng: np.random.Generator, h: int, w: int, unit: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    rail = (y % 12 < 1.3) | (y % 12 > 7) & (y % 12 < 8.3)
    sleeper = (x % 4 < 1.6) & (y % 12 < 9)
    return np.asarray(np.where(rail, 1.0, np.where(sleeper, 0.75, 0.1)), np.float32)


def _ramp(rng: np.random.Generator, h: int, w: int, unit: float) -> Field:
    return np.asarray(np.linspace(0, 1, h, dtype=np.float32)[:, None] + np.zeros((1, w), np.float32))


def _boards(rng: np.random.Generator, h: int, w: int, unit: float, width: float, along: str) -> Field:
    x, y = _axes(rng, h, w, unit)
    base = x if along == "x" else y
    seam = base % width < 0.8
    grain = noise(rng, h, w, unit, 1.2, 14) if along == "x" else noise(rng, h, w, unit, 14, 1.2)
    return np.asarray(np.where(seam, 1.0, 0.55 * grain), np.float32)


def _dashes(rng: np.random.Generator, h: int, w: int, unit: float, px: float, py: float, lx: float) -> Field:
    x, y = _axes(rng, h, w, unit)
    dash = (y % py < 1.1) & (x % px < lx)
    return np.asarray(np.where(dash, 1.0, 0.15 * noise(rng, h, w, unit, 2, 2)), np.float32)


def _p(function: Callable[..., Field], **options: Any) -> Pattern:
    return partial(function, **options)


PATTERNS: dict[str, Pattern] = {
    "plain": _plain,
    "ramp": _ramp,
    "rails": _rails,
    "soft": _p(_grain, sx=14, sy=9, gain=1.6),
    "fur": _p(_grain, sx=1.5, sy=3, gain=1.3),
    "wool": _p(_grain, sx=3, sy=3, gain=2.5),
    "speckle": _p(_grain, sx=1, sy=1, gain=1.6),
    "pebbles": _p(_grain, sx=2, sy=2, gain=2.6),
    "blades": _p(_grain, sx=1, sy=5, gain=2.0),
    "crops": _p(_stripes, period=6.5, duty=0.5, along="y", wobble=0.25),
    "vines": _p(_stripes, period=7, duty=0.5, along="x", wobble=0.7),
    "foliage": _p(_mix, coarse=6, fine=2),
    "needles": _p(_mix, coarse=3, fine=1.2),
    "crag": _p(_mix, coarse=10, fine=3),
    "strata": _p(_grain, sx=16, sy=2.5, gain=2.4),
    "dunes": _p(_grain, sx=12, sy=3, gain=1.2),
    "waves": _p(_waves, period=5),
    "ripple": _p(_waves, period=9),
    "calm": _p(_grain, sx=20, sy=2, gain=1.6),
    "falls": _p(_grain, sx=1.5, sy=24, gain=2.2),
    "pool": _p(_diamonds, period=8, line=1.4),
    "bricks": _p(_bricks, bw=9, bh=4.5, line=1.0),
    "blocks": _p(_bricks, bw=16, bh=10, line=0.8),
    "flags": _p(_bricks, bw=11, bh=7, line=1.1),
    "tiles": _p(_grid, px=6, py=6, line=0.9),
    "slabs": _p(_grid, px=14, py=14, line=0.8),
    "checks": _p(_checks, period=7),
    "gingham": _p(_checks, period=3),
    "planks": _p(_boards, width=7, along="y"),
    "panels": _p(_boards, width=8, along="x"),
    "grain": _p(_grain, sx=12, sy=1.2, gain=1.6),
    "windows": _p(_windows, px=8, py=9, fill=0.5),
    "panes": _p(_windows, px=4, py=3.4, fill=0.62),
    "zebra": _p(_stripes, period=4.2, duty=0.5, along="x", wobble=0.8),
    "bands": _p(_stripes, period=7, duty=0.5, along="x"),
    "rows": _p(_stripes, period=5, duty=0.4, along="y"),
    "slats": _p(_stripes, period=4, duty=0.45, along="x"),
    "bars": _p(_stripes, period=5.5, duty=0.3, along="x"),
    "steps": _p(_stripes, period=5.5, duty=0.5, along="y"),
    "weave": _p(_checks, period=1.8),
    "patches": _p(_spots, size=7, level=0.55),
    "giraffe": _p(_spots, size=4, level=0.42),
    "blossoms": _p(_dots, period=5, radius=1.7),
    "crowd": _p(_dots, period=4, radius=1.5),
    "medallions": _p(_diamonds, period=11, line=3),
    "folds": _p(_folds, period=7),
    "terry": _p(_folds, period=2.2),
    "road": _p(_dashes, px=16, py=18, lx=8),
    "runway": _p(_dashes, px=7, py=9, lx=4.5),
    "court": _p(_grid, px=30, py=18, line=1.3),
    "stage": _p(_boards, width=5, along="x"),
    "thatch": _p(_grain, sx=4, sy=1, gain=2.4),
}


def pattern(name: str, rng: np.random.Generator, h: int, w: int, unit: float) -> Field:
    """Return the mixing field (h, w) in 0..1 of the texture called ``name``; KeyError for an unknown one."""
    return PATTERNS[name](rng, h, w, unit)
