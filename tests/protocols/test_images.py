"""Reading pictures of any mode as detectron2 does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.benchmarks.images import read_image, read_label


@pytest.fixture
def colours() -> np.ndarray:
    y, x = np.mgrid[0:24, 0:32]
    return np.stack([y * 10, x * 7, (x + y) * 4], axis=-1).astype(np.uint8)


def test_rgb_is_read_exactly(tmp_path: Path, colours: np.ndarray) -> None:
    Image.fromarray(colours).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours, strict=True)


def test_grey_is_repeated_in_three_channels(tmp_path: Path, colours: np.ndarray) -> None:
    Image.fromarray(colours[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(colours[..., :1], 3, axis=2))


def test_transparency_is_dropped_not_blended(tmp_path: Path, colours: np.ndarray) -> None:
    alpha = np.full((*colours.shape[:2], 1), 10, np.uint8)
    Image.fromarray(np.concatenate([colours, alpha], axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours)


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (16, 16, 3)
    np.testing.assert_allclose(image.mean((0, 1)), [255, 0, 0], atol=3)


def test_sixteen_bit_grey_is_scaled_to_eight(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[..., 0].tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_exif_rotated_photographs_stand_upright(
    tmp_path: Path, colours: np.ndarray, orientation: int, turns: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(colours).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(colours, turns))


@pytest.mark.parametrize(("kind", "dtype"), [("png", np.uint8), ("png", np.uint16), ("tif", np.uint16)])
def test_labels_keep_their_bits(tmp_path: Path, kind: str, dtype: type) -> None:
    label: np.ndarray = np.array([[0, 1], [254, np.iinfo(dtype).max]], dtype)
    Image.fromarray(label).save(tmp_path / f"a.{kind}")
    np.testing.assert_array_equal(read_label(tmp_path / f"a.{kind}"), label, strict=True)


def test_palette_labels_are_read_as_indices(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 7, 255]], np.uint8)).convert("P")
    picture.putpalette([200, 100, 50] * 256)
    picture.save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").tolist() == [[0, 7, 255]]
