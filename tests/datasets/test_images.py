"""Reading pictures of any mode as detectron2 does."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.images import check_label, read_image, read_label, stored_image
from repro.datasets.layout import prepare_command, prepared_pairs
from repro.errors import DataError


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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_an_image_with_a_label_is_read_as_stored_or_refused(
    tmp_path: Path, colours: np.ndarray, orientation: int, kind: str
) -> None:
    path = tmp_path / f"a.{kind}"
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(colours).save(path)
    stored = read_image(path)
    Image.fromarray(colours).save(path, exif=exif)
    if orientation <= 4:
        np.testing.assert_array_equal(stored_image(path), stored, strict=True)
    else:
        with pytest.raises(DataError, match=rf"EXIF orientation \({orientation}\)"):
            stored_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_training_and_evaluation_see_the_pixels_that_masks_are_of(mini_real: Path, orientation: int) -> None:
    from repro.datasets.prepare.prepare import prepare
    from repro.datasets.verify.verify import verify

    path = mini_real / "ADEChallengeData2016/images/validation/ADE_val_00000001.jpg"
    stored = np.asarray(Image.open(path).convert("RGB"))
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(path, exif=exif, quality=100, subsampling=0)
    if orientation > 4:
        with pytest.raises(DataError, match="EXIF"):
            prepare("A-150", mini_real)
        return
    prepare("A-150", mini_real)
    assert verify("A-150", mini_real, 9, against_sources=True).ok
    (seen,) = (p.image for p in prepared_pairs(get_benchmark("A-150"), mini_real) if p.key == path.stem)
    np.testing.assert_allclose(stored_image(seen).astype(int), stored, atol=12)
    for module in (
        "training.train_set",
        "evaluation.loop",
        "evaluation.zero_shot",
        "evaluation.maps",
        "metrics.regions.accuracy",
    ):
        assert importlib.import_module(f"repro.{module}").stored_image is stored_image


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


@pytest.mark.parametrize(
    "values", [[0.0, 0.5, 1.0], [0.0, 0.001], [-1.0, 200.0], [0.0, float("nan"), 200.0], [0.0, float("inf")]]
)
def test_floating_point_pixels_of_another_range_are_refused_not_black(tmp_path: Path, values: list[float]) -> None:
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="floating-point") as caught:
        read_image(tmp_path / "a.tif")
    assert str(tmp_path / "a.tif") in caught.value.message
    assert "0 to 255" in str(caught.value.expected)


def test_floating_point_pixels_of_8_and_16_bits_are_read(tmp_path: Path) -> None:
    for values, grey in (
        ([0.0, 0.4, 254.6, 255.0], [0, 0, 255, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([0.0], [0]),
    ):
        Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
        assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == grey


def test_the_mend_of_a_bad_label_is_the_option_of_the_command() -> None:
    with pytest.raises(DataError) as caught:
        check_label(np.array([[200]], np.uint8), get_benchmark("A-150"), Path("my sets/$(x).png"))
    assert caught.value.mend == "repro data prepare A-150 --data-root ROOT --again"


def test_the_command_that_prepares_can_be_pasted_whatever_the_root_is_called() -> None:
    for name in ("my sets", "it's", "$(touch x)", "a\nb", "-rf"):
        for again in (False, True):
            made = prepare_command(
                get_benchmark("coco-stuff"), Path(name), get_benchmark("coco-stuff").split("val"), again=again
            )
            root = f"./{name}" if name == "-rf" else name
            assert shlex.split(made) == [
                *("repro", "data", "prepare", "coco-stuff", "--data-root", root, "--split", "val"),
                *(["--again"] if again else []),
            ]
