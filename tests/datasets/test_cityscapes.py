"""Cityscapes in the layout of its owners: cities as folders, masks of ids or of train ids, images as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.configuration.profiles import load_profile
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs, source_pairs
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify
from repro.errors import DataError
from repro.mini.synth import MiniSizes, own_key, synth_set
from repro.runs.assets import Assets

TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14,
             28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip
"""Written from the owners' table of labels."""
NAMES = (
    "road sidewalk building wall fence pole traffic_light traffic_sign vegetation terrain sky person rider car truck"
)
KEYS = ("aachen_000000_000019", "bochum_000000_000313")


def _loop(mask: np.ndarray) -> np.ndarray:
    label = np.full(mask.shape, 255, np.uint8)
    for value, train_id in TRAIN_IDS.items():
        label[mask == value] = train_id
    return label


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two photographs with every file that gtFine_trainvaltest.zip has, and the train ids of one beside its ids."""
    rng = np.random.default_rng(0)
    for key in KEYS:
        city = key.partition("_")[0]
        images, masks = (tmp_path / f"cityscapes/{name}/val/{city}" for name in ("leftImg8bit", "gtFine"))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        ids = rng.integers(0, 34, (40, 80)).astype(np.uint8)
        Image.fromarray(rng.integers(0, 256, (40, 80, 3)).astype(np.uint8)).save(images / f"{key}_leftImg8bit.png")
        Image.fromarray(ids).save(masks / f"{key}_gtFine_labelIds.png")
        Image.fromarray(ids.astype(np.uint16) * 1000).save(masks / f"{key}_gtFine_instanceIds.png")
        Image.fromarray(np.zeros((40, 80, 4), np.uint8)).save(masks / f"{key}_gtFine_color.png")
        (masks / f"{key}_gtFine_polygons.json").write_text("{}")
        Image.fromarray(_loop(ids)).save(masks / f"{key}_gtFine_labelTrainIds.png")
    return tmp_path


def _mask(root: Path, key: str, kind: str) -> Path:
    return root / f"cityscapes/gtFine/val/{key.partition('_')[0]}/{key}_gtFine_{kind}.png"


def test_the_classes_are_the_nineteen() -> None:
    names = get_benchmark("Cityscapes").class_names()
    assert [n.replace(" ", "_") for n in names[:15]] == NAMES.split()
    assert names[15:] == ("bus", "train", "motorcycle", "bicycle")


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_labels_are_the_train_ids_of_either_kind_of_mask(root: Path, kind: str) -> None:
    expected = {key: _loop(np.asarray(Image.open(_mask(root, key, "labelIds")))) for key in KEYS}
    for key in KEYS if kind == "labelTrainIds" else ():
        _mask(root, key, "labelIds").unlink()
    assert [p.label.stem.rpartition("_")[2] for p in source_pairs(get_benchmark("Cityscapes"), root)] == [kind] * 2
    prepare("Cityscapes", root)
    pairs = prepared_pairs(get_benchmark("Cityscapes"), root)
    assert [p.key for p in pairs] == list(KEYS)
    assert [p.image.name for p in pairs] == [f"{key}_leftImg8bit.png" for key in KEYS]
    for pair in pairs:
        np.testing.assert_array_equal(read_label(pair.label), expected[pair.key], strict=True)
    report = verify("Cityscapes", root, 2, against_sources=True)
    assert report.ok, str(report)


def test_an_impossible_value_of_either_kind_is_refused(root: Path) -> None:
    ids, train = _mask(root, KEYS[0], "labelIds"), _mask(root, KEYS[1], "labelTrainIds")
    Image.fromarray(np.full((40, 80), 34, np.uint8)).save(ids)
    with pytest.raises(DataError, match="outside the vocabulary") as caught:
        prepare("Cityscapes", root)
    assert "0..33" in str(caught.value)
    ids.unlink()
    _mask(root, KEYS[1], "labelIds").unlink()
    Image.fromarray(np.full((40, 80), 19, np.uint8)).save(train)
    with pytest.raises(DataError, match="outside the vocabulary") as caught:
        prepare("Cityscapes", root)
    assert "0..18 or 255" in str(caught.value)


def test_a_mask_without_its_image_is_named(root: Path) -> None:
    (root / f"cityscapes/leftImg8bit/val/aachen/{KEYS[0]}_leftImg8bit.png").unlink()
    with pytest.raises(DataError, match="1 of 2 images are absent"):
        prepare("Cityscapes", root)


def test_the_miniature_draws_it_when_it_is_asked_for(tmp_path: Path) -> None:
    assets = Assets(load_profile("smoke"), tmp_path, None)
    benchmark = get_benchmark("Cityscapes")
    root = assets.ensure_set(benchmark)
    pairs = prepared_pairs(benchmark, root)
    assert len(pairs) == len(prepared_pairs(get_benchmark("A-150"), root))
    assert verify("Cityscapes", root, len(pairs)).ok
    assert len({int(v) for p in pairs for v in np.unique(read_label(p.label))}) > 3
    assert assets.data_key("Cityscapes") != assets.data_key("A-150")
    before = pairs[0].image.stat().st_mtime_ns
    assert assets.ensure_set(benchmark) == root
    assert pairs[0].image.stat().st_mtime_ns == before


def test_another_recipe_or_writer_draws_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark, sizes = get_benchmark("Cityscapes"), MiniSizes(train=1, ade=1, context=1, voc=1)
    synth_set(tmp_path, benchmark, 0, sizes)
    (image,) = (tmp_path / "cityscapes").rglob("*_leftImg8bit.png")
    first = image.read_bytes()
    synth_set(tmp_path, benchmark, 1, sizes)
    assert image.read_bytes() != first
    now = own_key(benchmark, 1, sizes)
    assert own_key(benchmark, 0, sizes) != now
    kind = type(benchmark)
    drawn = kind.drawn_mask
    monkeypatch.setattr(kind, "drawn_mask", lambda self, scene: drawn(self, scene) // 2)
    assert own_key(benchmark, 1, sizes) != now
