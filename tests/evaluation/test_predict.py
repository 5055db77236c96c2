from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_method import make_method
from PIL import Image
from tiny_set import NAMES, TinyBenchmark, write_pairs

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.images import read_image, read_label
from repro.datasets.protocol import Protocol
from repro.errors import DataError, ResourceError, RunError, UsageError
from repro.evaluation.evaluate import evaluate
from repro.evaluation.infer import SlidingWindow
from repro.evaluation.predict import ClassList, Predictor, class_pixels, read_photo, write_label
from repro.methods.interface import Method
from repro.metrics.counts import CountsBuilder

MINI = Protocol(short_side=80, max_long_side=320, canvas=80, window=48)
FOLDED = TinyBenchmark(
    id="folded", background_index=3, names=("red", "green", "blue", "background"), prompts=(*NAMES, "sea", "sky")
)
COLOURS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.fixture(params=["sigmoid", "softmax"])
def method(request):
    return make_method(activation=request.param).eval()


@pytest.mark.parametrize("task", [TinyBenchmark(), FOLDED], ids=["plain", "folded"])
def test_the_label_png_is_the_arg_max_that_evaluation_counts(method, task, tmp_path):
    pairs = write_pairs(tmp_path / "set", count=3)
    for pair in pairs:  # labels of the folded set have fewer classes
        label = np.asarray(Image.open(pair.label))
        folded = np.where((label >= task.num_classes) & (label < 255), task.num_classes - 1, label)
        Image.fromarray(folded).save(pair.label)
    counted = evaluate(method, task, pairs, MINI, tmp_path / "eval", progress=False).counts()
    predictor = Predictor(method, ClassList.of_benchmark(task), MINI)
    ours = CountsBuilder(task.num_classes, task.ignore_label)  # no fold here: the PNG has it already
    for pair in pairs:
        path = tmp_path / f"{pair.key}.png"
        write_label(path, predictor(read_photo(pair.image)))
        written = read_label(path)
        direct = SlidingWindow(MINI).predict(method, read_image(pair.image), task.prompt_names())
        limit = task.background_index if task.background_index is not None else len(NAMES)
        np.testing.assert_array_equal(written, np.minimum(direct, limit))
        ours.add(pair.key, written, read_label(pair.label))
    np.testing.assert_array_equal(ours.build().confusion, counted.confusion)


class Ties(Method):
    """Every class scores the same everywhere but the third, which is lower."""

    activation = "sigmoid"

    def forward(self, images, classes):
        logits = torch.zeros(len(images), len(classes), 6, 6)
        logits[:, 2:3] = -1
        return logits

    def loss(self, images, labels, classes):
        raise NotImplementedError


@pytest.mark.parametrize("chunk_mib", [0, 1])
@pytest.mark.parametrize("count", [1, 40, 300])
def test_labels_are_those_of_evaluations_to_the_bit_also_among_equals_and_in_chunks(method, count, chunk_mib):
    classes = ClassList.of_names([f"class {i}" for i in range(count)])
    for model in (method, Ties()):
        predictor, window = Predictor(model, classes, MINI), SlidingWindow(MINI, chunk_mib=chunk_mib)
        predictor.window.chunk_mib = chunk_mib
        np.testing.assert_array_equal(predictor(COLOURS), window.predict(model, COLOURS, classes.prompts))


def test_a_method_that_returns_nan_is_no_prediction(method):
    method.head.bias.data[:] = torch.nan
    with pytest.raises(RunError, match="NaN"):
        Predictor(method, ClassList.of_names(NAMES), MINI)(COLOURS)


@pytest.mark.parametrize(("count", "bits"), [(1, 8), (255, 8), (256, 16), (1000, 16)])
def test_labels_have_eight_bits_up_to_255_classes_and_sixteen_beyond(count, bits, tmp_path):
    classes = ClassList.of_names([f"class {i}" for i in range(count)])
    labels = Predictor(make_method().eval(), classes, MINI)(COLOURS)
    assert labels.dtype == f"uint{bits}"
    write_label(tmp_path / "a.png", labels)
    assert Image.open(tmp_path / "a.png").mode == ("L" if bits == 8 else "I;16")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png"), labels, strict=True)
    pixels = class_pixels(labels, classes)
    assert len(pixels) == count
    assert pixels.sum() == labels.size


@pytest.mark.parametrize("chunk_mib", [0, 1])
def test_probabilities_are_one_array_of_the_scores_the_labels_come_from(method, chunk_mib, tmp_path):
    classes = ClassList.of_names([f"class {i}" for i in range(40)])
    predictor = Predictor(method, classes, MINI, keep_logits=True)
    predictor.window.chunk_mib = chunk_mib
    labels = predictor(COLOURS)
    predictor.write_probabilities(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert stored.files == ["probabilities"]
        scores = stored["probabilities"]
    assert scores.dtype == np.float32
    assert scores.shape == (40, 30, 40)
    np.testing.assert_array_equal(scores.argmax(axis=0), labels)
    expected = SlidingWindow(MINI).scores(method, COLOURS, classes.prompts).numpy()
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    if method.activation == "softmax":
        np.testing.assert_allclose(scores.sum(axis=0), 1, atol=1e-5)


def test_scores_are_never_held_for_all_classes_at_once(method):
    predictor = Predictor(method, ClassList.of_names([f"class {i}" for i in range(200)]), MINI, keep_logits=True)
    predictor.window.chunk_mib = 1
    predictor(COLOURS)
    parts = [len(part) for part in predictor.probabilities()]
    assert sum(parts) == 200
    assert max(parts) <= 10


@pytest.mark.parametrize("chunk_mib", [0, 1])
def test_a_folded_background_scores_as_the_best_of_its_prompts(method, chunk_mib, tmp_path):
    classes = ClassList.of_benchmark(get_benchmark("PAS-20b"))
    predictor = Predictor(method, classes, MINI, keep_logits=True)
    predictor.window.chunk_mib = chunk_mib
    labels = predictor(COLOURS)
    predictor.write_probabilities(tmp_path / "a.npz")
    scores = np.load(tmp_path / "a.npz")["probabilities"]
    full = SlidingWindow(MINI).scores(method, COLOURS, classes.prompts).numpy()
    assert len(full) == 59
    np.testing.assert_allclose(scores, np.concatenate([full[:20], full[20:].max(0, keepdims=True)]), atol=2e-6)
    np.testing.assert_array_equal(scores.argmax(axis=0), labels)
    assert labels.max() == 20


def test_scores_that_do_not_fit_the_disk_are_refused_before_they_are_computed(tmp_path, monkeypatch):
    predictor = Predictor(make_method().eval(), ClassList.of_names(NAMES), MINI, keep_logits=True)
    predictor(COLOURS)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ResourceError, match="not enough disk space") as caught:
        predictor.write_probabilities(tmp_path / "a.npz")
    assert "--save-probs" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(1, 1), (1, 9000), (9000, 1), (3, 700), (600, 400)])
def test_images_of_any_shape_are_labelled_at_their_own_size(size):
    labels = Predictor(make_method().eval(), ClassList.of_names(NAMES), MINI)(np.full((*size, 3), 90, np.uint8))
    assert labels.shape == size


def test_names_keep_their_order_and_lose_only_white_space():
    classes = ClassList.of_names([" sky", "traffic   light\n", "", "猫", "sea"])
    assert classes.names == classes.prompts == ("sky", "traffic light", "猫", "sea")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no class"),
        (["", "  "], "no class"),
        ([str(i) for i in range(1001)], "too many"),
        (["sky", "cat", "sky"], "named twice"),
        (["Sky", "sky "], "named twice"),
        (["caf\u00e9", "cafe\u0301"], "named twice"),
    ],
)
def test_class_lists_that_cannot_be_are_refused(names, message):
    with pytest.raises(UsageError, match=message):
        ClassList.of_names(names)


def as_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray((COLOURS[..., 0].astype(np.uint16)) * 257)
    if mode in ("RGBA", "LA"):
        picture = Image.fromarray(COLOURS).convert(mode)
        picture.putalpha(7)
        return picture
    return Image.fromarray(COLOURS).convert(mode)


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp", "webp"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_and_format_is_read_as_evaluations_read_it(mode, ending, tmp_path):
    path, picture = tmp_path / f"a.{ending}", as_mode(mode)
    try:
        picture.save(path, **({"lossless": True} if ending == "webp" else {}))
    except (OSError, KeyError, ValueError):
        pytest.skip(f"{ending} holds no {mode}")
    image = read_photo(path)
    assert image.shape == (30, 40, 3)
    np.testing.assert_array_equal(image, read_image(path))
    if mode in ("L", "LA", "I;16") and ending in ("png", "tif"):
        grey = COLOURS[..., 0] if mode == "I;16" else np.asarray(Image.fromarray(COLOURS).convert("L"))
        np.testing.assert_array_equal(image, np.repeat(grey[..., None], 3, axis=2))
    if mode == "RGBA" and ending in ("png", "tif"):
        np.testing.assert_array_equal(image, COLOURS)  # transparency is dropped


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, -1), (8, 1)])
def test_photographs_stand_upright(orientation, turns, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png"), np.rot90(COLOURS, turns))


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    "write",
    [
        truncated,
        lambda path: path.write_text("no image"),
        lambda path: path.write_bytes(b""),
        lambda path: Image.fromarray(COLOURS).save(path, "GIF"),
        lambda path: None,
    ],
    ids=["truncated", "text", "empty", "another format", "absent"],
)
def test_what_is_no_image_is_one_data_error_with_its_name(write, tmp_path):
    write(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_photo(tmp_path / "a.jpg")
