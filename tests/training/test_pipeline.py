from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest

from repro.training.pipeline import augment, build_pipeline, seeded
from repro.training.settings import TrainSettings

pytest.importorskip("mmseg")

SETTINGS = TrainSettings(short_side=32, crop=32)


def draw(image, label, position=0, settings=SETTINGS):
    with seeded(0, position):
        return augment(build_pipeline(settings), image, label)


def noise(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.integers(0, 5, (height, width), dtype=np.uint8)


def without_colour(pipeline):
    return [t for t in pipeline if type(t).__name__ != "PhotoMetricDistortion"]


@pytest.mark.parametrize("shape", [(32, 32), (40, 97), (97, 40), (20, 25), (64, 64)])
def test_crops_have_the_crop_size_whatever_the_image(shape):
    image, label = draw(*noise(*shape))
    assert image.shape == (32, 32, 3)
    assert label.shape == (32, 32)
    assert image.dtype == label.dtype == np.uint8


def test_labels_and_image_move_together():
    """Colour encodes the label, so after cropping and flipping every pixel must still match."""
    _, label = noise(32, 57)
    label = label[:32:4, :57:3].repeat(4, 0).repeat(3, 1)[:32, :57]
    image = np.stack([label * 50, label, 255 - label], axis=-1)
    pipeline = without_colour(build_pipeline(SETTINGS))
    crops = set()
    for position in range(8):
        with seeded(0, position):
            out, out_label = augment(pipeline, image, label)
        assert np.array_equal(out[..., 0], out_label * 50)
        assert np.array_equal(out[..., 2], 255 - out_label)
        crops.add(out_label.tobytes())
    assert len(crops) > 4


def test_an_elongated_image_is_padded_with_128_and_255():
    """At 10 : 1 the limit on the longer side (1333 / 384 of the shorter) leaves 11 rows of 32."""
    image, label = np.full((40, 400, 3), 7, dtype=np.uint8), np.zeros((40, 400), dtype=np.uint8)
    with seeded(0, 0):
        out, out_label = augment(without_colour(build_pipeline(SETTINGS)), image, label)
    assert (out_label == 255).any()
    assert (out[out_label == 255] == 128).all()
    assert (out[out_label == 0] == 7).all()
    assert (out_label == 0).sum() == 11 * 32


def test_shorter_side_is_resized_to_the_setting():
    """A crop as large as the resized image shows all of it."""
    label = np.repeat(np.arange(4, dtype=np.uint8), 32)[None].repeat(128, 0)
    _, out = draw(np.zeros((128, 128, 3), dtype=np.uint8), label)
    assert np.bincount(out.ravel()).tolist() == [8 * 32] * 4


def test_a_category_limit_avoids_uniform_crops():
    label = np.zeros((32, 96), dtype=np.uint8)
    label[:, :8] = 1
    limited = TrainSettings(short_side=32, crop=32, cat_max_ratio=0.9)
    image = np.zeros((32, 96, 3), dtype=np.uint8)
    mixed = {
        ratio: sum(len(np.unique(draw(image, label, i, settings)[1])) > 1 for i in range(40))
        for ratio, settings in ((1.0, SETTINGS), (0.9, limited))
    }
    assert mixed[0.9] > mixed[1.0] + 10


def test_photometric_distortion_turns_hue_in_rgb():
    """A pure red stays dominated by red: swapped channels would make it blue."""
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[..., 0] = 200
    for position in range(20):
        out, _ = draw(image, np.zeros((32, 32), dtype=np.uint8), position)
        assert out[..., 0].mean() > out[..., 1:].mean()


def test_the_same_position_gives_the_same_crop_and_another_another():
    image, label = noise(50, 90)
    first, again, other = (draw(image, label, position)[0] for position in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_seeding_leaves_the_global_generators_as_they_were():
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    expected = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    draw(*noise(50, 90))
    assert (np.random.random(), random.random()) == expected  # noqa: NPY002


def test_building_the_pipeline_prints_nothing_on_stdout():
    code = "import repro.training.pipeline as p; p.build_pipeline(p.TrainSettings())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b""
