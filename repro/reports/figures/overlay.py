"""A label map as a picture a person can read: tinted photograph, numbered regions, and a legend below."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

LONG_SIDE = 1600
"""Larger pictures are reduced to this longer side, in pixels."""
SHORT_OF = 480
"""Pictures with a smaller longer side are enlarged by a whole factor to this or a little more."""
LISTED = 60
"""So many classes are listed; the rest is summed up in one line."""

_STRENGTH = 0.6  # of the colour over the grey photograph
_NUMBERED = 3  # regions of a class that carry its number
_ROWS = 20  # of a legend, before the page is widened for another column
_THINNEST = 16  # pixels a picture of extreme aspect is drawn at least wide and high
_LONGEST = 200  # characters of a name that are ever measured
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)
# After DejaVu Sans (Latin, Greek, Cyrillic, Arabic ..): fonts with other scripts that systems tend to have.
_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "Nirmala.ttf",
    "FreeSans.ttf",
)
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


# -- the picture --------------------------------------------------------------------------------------------------
def draw_overlay(
    image: NDArray[np.uint8],
    labels: NDArray[Any],
    pixels: NDArray[np.int64],
    names: Sequence[str],
    colours: NDArray[np.uint8],
    caption: str = "",
) -> Image.Image:
    """Draw the photograph ``image`` (H, W, 3), grey, tinted by ``labels`` (H, W), above ``caption`` and a legend.

    The legend lists the classes that occur by falling share of the pixels, each with the index that its largest
    regions also carry; ``pixels`` (N,), ``names`` and ``colours`` (N, 3) are of all classes. Long names lose their
    middle, characters no font here can draw are written as escapes. Pictures are brought to 480 to 1,600 pixels on the
    longer side; a long legend may widen the page.
    """
    height, width = _drawn_size(labels.shape[0], labels.shape[1])
    small = _nearest(labels, height, width)
    enlarged = height > labels.shape[0]
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR
    photo = Image.fromarray(image).resize((width, height), method, reducing_gap=None if enlarged else 2.0).convert("L")
    tinted = _tint(np.asarray(photo), small, colours)
    order = np.argsort(-pixels, kind="stable")[: np.count_nonzero(pixels)]
    picture = Image.fromarray(tinted)
    _number_regions(picture, small, order[:LISTED])
    legend = _Legend.of(pixels[order] / labels.size, order, names, colours, max(width, SHORT_OF))
    return legend.below(picture, caption)


def _drawn_size(height: int, width: int) -> tuple[int, int]:
    longest = max(height, width)
    if longest > LONG_SIDE:
        height, width = (round(side * LONG_SIDE / longest) for side in (height, width))
    elif longest < SHORT_OF:
        height, width = (side * -(-SHORT_OF // longest) for side in (height, width))
    return max(height, _THINNEST), max(width, _THINNEST)


def _nearest(labels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    return labels[rows[:, None], columns]


def _tint(grey: NDArray[np.uint8], labels: NDArray[Any], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    mixed = _STRENGTH * colours[labels].astype(np.float32) + (1 - _STRENGTH) * grey[..., None]
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    mixed[edge] *= 0.5
    return mixed.round().astype(np.uint8)


def _number_regions(picture: Image.Image, labels: NDArray[Any], classes: NDArray[np.int64]) -> None:
    """Write the index of each of ``classes`` into its largest regions, at their thickest place, where it fits."""
    draw, size = ImageDraw.Draw(picture), max(12, max(picture.size) // 60)
    step = max(1, max(labels.shape) // 400)  # regions are found on a coarse map: quick, and good enough for a place
    coarse = labels[::step, ::step]
    for index in classes.tolist():
        regions, count = ndimage.label(coarse == index)
        if not count:
            continue
        text, font, boxes = str(index), _base_font(size), ndimage.find_objects(regions)
        for region in np.argsort(-np.bincount(regions.ravel())[1:])[:_NUMBERED].tolist():
            box = boxes[region]
            depth = ndimage.distance_transform_edt(np.pad(regions[box] == region + 1, 1))
            if depth.max() * step < 0.5 * max(size, draw.textlength(text, font)):
                break
            row, column = np.unravel_index(depth.argmax(), depth.shape)
            y, x = (row - 1 + box[0].start + 0.5) * step, (column - 1 + box[1].start + 0.5) * step
            draw.text((x, y), text, "white", font, anchor="mm", stroke_width=max(1, size // 8), stroke_fill="black")


# -- the legend ---------------------------------------------------------------------------------------------------
@dataclasses.dataclass(frozen=True)
class _Entry:
    index: str
    name: str
    share: str
    colour: tuple[int, int, int]
    font: _Font


@dataclasses.dataclass(frozen=True)
class _Legend:
    """Entries in columns of one width, filled downwards; sizes in pixels."""

    entries: tuple[_Entry, ...]
    notes: tuple[str, ...]
    width: int
    size: int

    @classmethod
    def of(
        cls,
        shares: NDArray[np.float64],
        order: NDArray[np.int64],
        names: Sequence[str],
        colours: NDArray[np.uint8],
        width: int,
    ) -> _Legend:
        size = min(22, max(14, width // 60))
        # What a name may take of its column: the rest is swatch and figures.
        columns = -(-min(len(order), LISTED) // _ROWS)
        longest = min(width, max(32 * size, width // columns)) - 11 * size
        entries, escaped = [], False
        for index, share in zip(order[:LISTED].tolist(), shares, strict=False):
            name, font, whole = _drawable(names[index], size)
            escaped |= not whole
            r, g, b = (round(_STRENGTH * int(c) + (1 - _STRENGTH) * 128) for c in colours[index])
            entries.append(_Entry(str(index), _shortened(name, font, longest), _percent(share), (r, g, b), font))
        notes = []
        if len(order) > LISTED:
            rest = _percent(float(shares[LISTED:].sum()))
            notes.append(f"and {len(order) - LISTED} more classes on {rest} of the picture (see the JSON file)")
        if escaped:
            notes.append("no font found for the characters written as \\u....: install one, e.g. Noto Sans CJK")
        return cls(tuple(entries), tuple(notes), width, size)

    def below(self, picture: Image.Image, caption: str) -> Image.Image:
        """Compose the page: ``picture``, the caption, the entries, the notes."""
        line, gap = round(self.size * 1.6), self.size
        index_width = max((e.font.getlength(e.index) for e in self.entries), default=0)
        name_width = max((e.font.getlength(e.name) for e in self.entries), default=0)
        share_width = max((_base_font(self.size).getlength(e.share) for e in self.entries), default=0)
        column = round(self.size * 3.5 + index_width + name_width + share_width) + 2 * gap
        wanted = max((self.width - gap) // column, -(-len(self.entries) // _ROWS))
        columns = max(1, min(len(self.entries), wanted, (LONG_SIDE - gap) // column))
        rows = -(-len(self.entries) // columns)
        width = max(self.width, gap + columns * column)
        captions = _wrapped(caption, _base_font(self.size), width - 2 * gap)
        lines = len(captions) + rows + len(self.notes)
        page = Image.new("RGB", (width, picture.height + lines * line + 2 * gap), _PAPER)
        page.paste(picture, ((width - picture.width) // 2, 0))
        draw = ImageDraw.Draw(page)
        y = picture.height + gap
        for text in captions:
            draw.text((gap, y + line / 2), text, _FAINT, _base_font(self.size), anchor="lm")
            y += line
        for place, entry in enumerate(self.entries):
            left, middle = gap + place // rows * column, y + place % rows * line + line / 2
            half = self.size * 0.6
            draw.rectangle((left, middle - half, left + 1.6 * self.size, middle + half), entry.colour, _INK)
            x = left + 2.2 * self.size + index_width
            draw.text((x, middle), entry.index, _FAINT, _base_font(self.size), anchor="rm")
            draw.text((x + 0.6 * self.size, middle), entry.name, _INK, entry.font, anchor="lm")
            right = x + 1.3 * self.size + name_width + share_width
            draw.text((right, middle), entry.share, _INK, _base_font(self.size), anchor="rm")
        y += rows * line
        for text in self.notes:
            draw.text((gap, y + line / 2), text, _FAINT, _base_font(self.size), anchor="lm")
            y += line
        return page


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def _wrapped(text: str, font: _Font, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _shortened(name: str, font: _Font, width: float) -> str:
    """Return ``name`` without its middle where it is wider than ``width`` pixels: names often differ at their ends."""
    if len(name) > _LONGEST:
        name = _ends(name, _LONGEST)
    if font.getlength(name) <= width:
        return name
    kept = next(k for k in range(len(name) - 1, -1, -1) if font.getlength(_ends(name, k)) <= width or k == 0)
    return _ends(name, kept)


def _ends(name: str, kept: int) -> str:
    head = (2 * kept + 2) // 3
    return name[:head] + "…" + name[len(name) - (kept - head) :]


# -- fonts --------------------------------------------------------------------------------------------------------
def _drawable(name: str, size: int) -> tuple[str, _Font, bool]:
    """Return ``name``, the first font that has all its characters, and True; else with escapes for the rest, False."""
    for font in _fonts(size):
        if all(_has(font, c) for c in name):
            return name, font, True
    font = _base_font(size)
    return "".join(c if _has(font, c) else c.encode("unicode_escape").decode() for c in name), font, False


@cache
def _base_font(size: int) -> _Font:
    return next(_fonts(size))


def _fonts(size: int) -> Iterator[_Font]:
    """Yield DejaVu Sans as it comes with matplotlib, then fonts of the system that cover more, then Pillow's own."""
    # Found without importing matplotlib, which would write a font cache into the user's home.
    spec = importlib.util.find_spec("matplotlib")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from _loaded(str(Path(place) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
    for name in _FONTS:
        yield from _loaded(name, size)
    yield _pillow_font(size)


@cache
def _pillow_font(size: int) -> _Font:
    return ImageFont.load_default(size)


@cache
def _loaded(name: str, size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    try:
        return (ImageFont.truetype(name, size),)
    except OSError:
        return ()


@cache
def _has(font: _Font, character: str) -> bool:
    """Tell whether ``font`` has a glyph of its own for ``character``: drawn otherwise than a code that is none."""
    if character.isspace():
        return True
    if not character.isprintable():
        return False
    plain = _without_shaping(font)
    return bytes(plain.getmask(character)) != bytes(plain.getmask("\U0010ffff"))


@cache
def _without_shaping(font: _Font) -> _Font:
    """Return the font as it draws one code at a time: shaping would put a dotted circle below a lone combining mark."""
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    return font
