"""Palette masks: accepted where the order of the colours is known, refused where every class may be another."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from repro.datasets.images import read_label
from repro.datasets.palettes import voc_palette
from repro.datasets.prepare.prepare import prepare
from repro.errors import DataError

MASK = np.array([[0, 3, 15, 255], [20, 20, 3, 0]], np.uint8)
RAMP = np.arange(256, dtype=np.uint8)[:, None].repeat(3, axis=1)
ADE = "ADEChallengeData2016/annotations/validation/ADE_val_00000002.png"


def with_palette(mask: NDArray[np.uint8], colours: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(mask).convert("P")
    picture.putpalette(colours.ravel().tolist())
    return picture


def recompressed(path: Path) -> None:
    """As optimisers do it: the same picture, with a palette of its own colours alone, the most frequent first."""
    picture = Image.open(path).convert("RGB")
    pixels = np.asarray(picture)
    colours, index, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    with_palette(rank[index.ravel()].reshape(pixels.shape[:2]).astype(np.uint8), colours[order]).save(path)
    assert (np.asarray(Image.open(path).convert("RGB")) == pixels).all()


@pytest.mark.parametrize("colours", [voc_palette(), RAMP, np.full((256, 3), 90, np.uint8)])
def test_known_palettes_are_read_as_indices(tmp_path: Path, colours: NDArray[np.uint8]) -> None:
    with_palette(MASK, colours).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), MASK)


def test_a_mask_of_few_colours_may_have_a_short_palette(tmp_path: Path) -> None:
    mask = np.where(MASK > 20, 0, MASK).astype(np.uint8)
    picture = Image.fromarray(mask).convert("P")
    picture.putpalette(voc_palette()[:21].ravel().tolist())
    picture.save(tmp_path / "a.png", bits=8)
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), mask)


@pytest.mark.parametrize("known", [voc_palette(), RAMP])
def test_a_palette_with_two_colours_exchanged_is_refused(tmp_path: Path, known: NDArray[np.uint8]) -> None:
    colours = known.copy()
    colours[[3, 15]] = colours[[15, 3]]
    with_palette(MASK, colours).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="palette in an unknown order") as caught:
        read_label(tmp_path / "a.png")
    assert str(tmp_path / "a.png") in caught.value.message
    assert caught.value.found == f"colour 3 is {tuple(known[15].tolist())}"


@pytest.mark.parametrize("value", [5, 255])
def test_a_mask_of_one_value_turned_into_a_palette_of_one_colour_is_refused(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(tmp_path / "a.png")
    recompressed(tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).max() == 0
    with pytest.raises(DataError, match="palette"):
        read_label(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "mask"), [("PAS-20", "VOCdevkit/VOC2012/SegmentationClassAug/2007_001763.png"), ("A-150", ADE)]
)
def test_a_real_mask_recompressed_without_loss_is_refused(mini_real: Path, name: str, mask: str) -> None:
    recompressed(mini_real / mask)
    with pytest.raises(DataError, match="palette in an unknown order") as caught:
        prepare(name, mini_real)
    assert str(mini_real / mask) in caught.value.message


def test_a_grey_mask_saved_with_the_ramp_makes_the_same_label(mini_real: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    before = (folder / Path(ADE).name).read_bytes()
    with_palette(np.array(Image.open(mini_real / ADE)), RAMP).save(mini_real / ADE)
    (folder / Path(ADE).name).unlink()
    prepare("A-150", mini_real)
    assert (folder / Path(ADE).name).read_bytes() == before


def test_voc_colours_are_those_of_the_real_masks(photographs: Path) -> None:
    content = (photographs / "VOCdevkit/VOC2012/SegmentationClass/2007_001763.png").read_bytes()
    palette = Image.open(io.BytesIO(content)).getpalette()
    assert palette == voc_palette().ravel().tolist()
