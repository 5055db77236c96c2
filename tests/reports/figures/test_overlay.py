from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from repro.reports.figures.colours import class_colours
from repro.reports.figures.overlay import LISTED, LONG_SIDE, SHORT_OF, draw_overlay

RNG = np.random.default_rng(0)


def blocks(classes: int, height: int, width: int, side: int = 10) -> np.ndarray:
    small = RNG.permutation(np.arange(-(-height // side) * -(-width // side)) % classes)
    return small.reshape(-(-height // side), -1).repeat(side, 0).repeat(side, 1)[:height, :width].astype(np.uint16)


def draw(labels: np.ndarray, names: list[str], caption: str = "caption") -> np.ndarray:
    image = RNG.integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    return page_of(image, labels, names, caption)


def page_of(image: np.ndarray, labels: np.ndarray, names: list[str], caption: str = "") -> np.ndarray:
    pixels = np.bincount(labels.ravel(), minlength=len(names))
    return np.asarray(draw_overlay(image, labels, pixels, names, class_colours(names), caption))


def test_every_class_that_occurs_has_its_swatch_and_no_other():
    names = [f"class {i}" for i in range(30)]
    labels = blocks(12, 300, 600)
    page = draw(labels, names)
    legend = {tuple(c) for c in page[300:].reshape(-1, 3).tolist()}
    mixed = np.round(0.6 * class_colours(names).astype(float) + 0.4 * 128).astype(int)
    assert [tuple(c) in legend for c in mixed.tolist()] == [True] * 12 + [False] * 18


def test_the_tint_is_the_colour_over_the_grey_photograph():
    names = ["sky", "cat"]
    labels = np.zeros((500, 600), np.uint8)
    labels[:, 300:] = 1
    image = np.full((500, 600, 3), 200, np.uint8)
    page = page_of(image, labels, names)
    np.testing.assert_allclose(page[20, 20], 0.6 * class_colours(names)[0] + 0.4 * 200, atol=1)
    np.testing.assert_allclose(page[20, 580], 0.6 * class_colours(names)[1] + 0.4 * 200, atol=1)


def test_a_region_carries_its_number_and_a_speck_does_not():
    names = ["sky", "cat"]
    labels = np.zeros((600, 600), np.uint8)
    labels[:4, :4] = 1
    page = page_of(np.zeros((600, 600, 3), np.uint8), labels, names)
    white = np.argwhere((page[:600] > 180).all(axis=2))
    assert len(white) > 10
    assert (np.abs(white - 300) < 30).all()


@pytest.mark.parametrize("classes", [1, 2, 24, LISTED, 300])
def test_the_legend_has_a_line_for_each_class_up_to_its_limit(classes):
    heights = [draw(blocks(n, 400, 640), [f"class {i}" for i in range(300)]).shape[0] for n in (1, classes)]
    assert heights[0] <= heights[1] <= 400 + 60 * 40


@pytest.mark.parametrize(
    "name",
    ["a " + "very " * 80 + "long name", "x" * 5000, "猫", "кошка", "قطة", "बिल्ली", "🐈", "a\tbell\u0007", "e\u0301"],
)
def test_no_name_breaks_the_legend_or_widens_the_page(name):
    assert draw(blocks(2, 300, 640), [name, "sky"]).shape[1] == 640


def test_names_that_differ_do_so_in_the_legend_even_where_no_font_has_them():
    pages = [draw(np.zeros((100, 480), np.uint8), [name])[100:] for name in ("\U000e0041a", "\U000e0042a")]
    assert pages[0].shape != pages[1].shape or not np.array_equal(*pages)


@pytest.mark.parametrize("size", [(1, 1), (1, 8000), (8000, 1), (64, 48), (2000, 3000)])
def test_pictures_of_any_shape_are_brought_to_a_size_to_look_at(size):
    page = draw(np.zeros(size, np.uint8), ["sky"])
    assert SHORT_OF <= page.shape[1] <= LONG_SIDE
    assert page.shape[0] <= LONG_SIDE + 200


def test_the_page_is_a_picture_pillow_can_write(tmp_path):
    Image.fromarray(draw(blocks(3, 50, 50), ["a", "b", "c"])).save(tmp_path / "a.png")
