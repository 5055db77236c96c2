"""Scenes written as source formats, prepared by the rules of the real sets, and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS, get_benchmark
from repro.datasets.images import check_label, read_image, read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.palettes import voc_palette
from repro.datasets.prepare.prepare import prepare
from repro.datasets.sets import ade150, ade847, coco_stuff, pc59, pc459, voc20
from repro.datasets.verify.verify import verify
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import DataError, UsageError
from repro.mini import synth as synth_module
from repro.mini.catalogue import CONCEPTS, INDEX
from repro.mini.scenes import Scene
from repro.mini.synth import MANIFEST, MiniSizes, draw_scene, picture_key, synth

SIZES = MiniSizes(train=5, ade=4, context=4, voc=4)
COUNTS = {"coco-stuff": 5}
SET_OF = {"coco-stuff": "train", "A-150": "ade", "A-847": "ade", "PC-59": "context", "PC-459": "context"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature")
    synth(folder, seed=3, sizes=SIZES)
    for name in [*BENCHMARKS, *TRAIN_SETS]:
        prepare(name, folder)
    return folder


def _direct(scene: Scene, name: str) -> np.ndarray:
    """The label of every pixel straight from the concept's name, one concept at a time."""
    benchmark = get_benchmark(name)
    names = load_vocabulary(benchmark.vocabulary).names
    void = 65535 if benchmark.label_dtype == "uint16" else 255
    if benchmark.background_index is not None:
        void = benchmark.background_index
    out = np.full(scene.concepts.shape, void, np.int64)
    for index in np.unique(scene.concepts):
        label = CONCEPTS[index].label_in(names)
        if label is not None:
            out[scene.concepts == index] = label
    return out


@pytest.mark.parametrize("name", SET_OF)
def test_prepared_labels_equal_the_names_of_the_concepts(root: Path, name: str) -> None:
    pairs = prepared_pairs(get_benchmark(name), root)
    assert len(pairs) == COUNTS.get(name, 4)
    for index, pair in enumerate(pairs):
        scene = draw_scene(3, SET_OF[name], index, SIZES)
        label = read_label(pair.label)
        check_label(label, get_benchmark(name), pair.label, read_image(pair.image).shape)
        np.testing.assert_array_equal(label, _direct(scene, name))


@pytest.mark.parametrize("name", ["PAS-20", "PAS-20b"])
def test_voc_labels_equal_the_concepts_away_from_the_seams(root: Path, name: str) -> None:
    for index, pair in enumerate(prepared_pairs(get_benchmark(name), root)):
        scene = draw_scene(3, "voc", index, SIZES)
        objects = _direct(scene, "PAS-20")
        height, width = objects.shape
        seam = np.zeros((height, width), bool)
        for y in range(height):  # the definition, pixel by pixel
            for x in range(width):
                for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                    if not (0 <= v < height and 0 <= u < width):
                        continue
                    one, two = objects[y, x], objects[v, u]
                    same = one == two == 255 or (
                        one != 255 and two != 255 and scene.instances[y, x] == scene.instances[v, u]
                    )
                    seam[y, x] |= not same
        expected = np.where(seam, 255, _direct(scene, name))
        np.testing.assert_array_equal(read_label(pair.label), expected)


def test_images_keep_their_colours_within_jpeg(root: Path) -> None:
    pair = prepared_pairs(get_benchmark("A-150"), root)[0]
    scene = draw_scene(3, "ade", 0, SIZES)
    difference = np.abs(read_image(pair.image).astype(int) - scene.image)
    assert difference.mean() < 4
    assert min(scene.image.shape[:2]) in range(SIZES.short_side[0], SIZES.short_side[1] + 1)


def test_both_ade_sets_hold_the_same_scenes(root: Path) -> None:
    small = [p.key for p in prepared_pairs(get_benchmark("A-150"), root)]
    assert small == [p.key for p in prepared_pairs(get_benchmark("A-847"), root)]
    original = next(root.glob(f"ADE20K_2021_17_01/images/ADE/validation/*/*/{small[0]}.jpg"))
    assert original.read_bytes() == (root / f"ADEChallengeData2016/images/validation/{small[0]}.jpg").read_bytes()


def test_prepared_miniature_verifies(root: Path) -> None:
    for name in [*BENCHMARKS, *TRAIN_SETS]:
        report = verify(name, root, expected_count=COUNTS.get(name, 4))
        assert report.ok, str(report)
        assert report.classes_present > 3


def _scene(names: list[list[str]], instances: list[list[int]]) -> Scene:
    concepts = np.array([[INDEX[n] for n in row] for row in names], np.int16)
    image = np.zeros((*concepts.shape, 3), np.uint8)
    return Scene(image, concepts, np.array(instances, np.int16), "by hand")


def test_source_values_of_a_scene_made_by_hand() -> None:
    scene = _scene([["sky-other", "airplane"], ["couch", "person"]], [[0, 1], [2, 3]])
    coco = {r["name"]: int(r["stuffthingmaps_value"]) for r in load_vocabulary("coco_stuff171").rows}
    expected = [[coco["sky-other"], coco["airplane"]], [coco["couch"], coco["person"]]]
    assert coco_stuff.DATA_SET.drawn_mask(scene).tolist() == expected
    assert ade150.DATA_SET.drawn_mask(scene).tolist() == [
        [3, 91],
        [24, 13],
    ]  # objectInfo150: sky, airplane, sofa, person
    full = ade847.DATA_SET.drawn_mask(scene)
    assert full[..., 0].tolist()[0][0] // 10 * 256 + full[..., 1].tolist()[0][0] == 2420  # sky
    assert full[..., 2].tolist() == [[0, 1], [2, 3]]
    assert pc459.DATA_SET.drawn_map(scene)[0, 1] == 2  # aeroplane
    annotations = pc59.DATA_SET.drawn_annotations(scene, image_id=7)
    assert {a["image_id"] for a in annotations} == {7}
    assert sum(a["area"] for a in annotations) == 4


def test_border_lies_on_both_sides_of_objects_and_not_between_backgrounds() -> None:
    names = [["sky-other"] * 3 + ["grass"] * 3 + ["dog"] * 4 + ["dog"] * 3]
    instances = [[0] * 6 + [1] * 4 + [2] * 3]
    mask = voc20.DATA_SET.drawn_mask(_scene(names, instances))
    assert mask.tolist() == [[0, 0, 0, 0, 0, 255, 255, 12, 12, 255, 255, 12, 12]]


def test_voc_palette_is_the_official_one() -> None:
    assert voc_palette()[[0, 1, 2, 3, 15, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [192, 128, 128],
        [224, 224, 192],
    ]


def test_voc_masks_are_palette_pictures(root: Path) -> None:
    for path in (root / "VOCdevkit/VOC2012/SegmentationClass").glob("*.png"):
        with Image.open(path) as picture:
            assert picture.mode == "P"
            assert 255 in np.asarray(picture)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_equal_seeds_give_equal_bytes_for_any_number_of_processes(tmp_path: Path) -> None:
    sizes = MiniSizes(train=2, ade=1, context=2, voc=1)
    synth(tmp_path / "a", seed=1, sizes=sizes)
    synth(tmp_path / "b", seed=1, sizes=sizes, jobs=2)
    synth(tmp_path / "c", seed=2, sizes=sizes)
    a, b, c = (_contents(tmp_path / n) for n in "abc")
    assert a == b
    image = "coco-stuff/images/train2017/000000000001.jpg"
    assert a[image] != c[image]


def test_a_finished_miniature_is_used_again_and_another_recipe_replaces_it(tmp_path: Path) -> None:
    sizes = MiniSizes(train=1, ade=1, context=1, voc=1)
    drawn: list[tuple[int, int]] = []

    def again(seed: int) -> dict[str, Any]:
        drawn.clear()
        return synth(tmp_path, seed=seed, sizes=sizes, progress=lambda done, total: drawn.append((done, total)))

    first = again(0)
    assert drawn == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert again(0) == first
    assert drawn == []
    (tmp_path / "coco-stuff/images/train2017/000000000001.jpg").unlink()
    again(0)
    assert len(drawn) == 4
    again(5)
    assert len(drawn) == 4


def test_an_interrupted_miniature_is_drawn_anew(tmp_path: Path) -> None:
    sizes = MiniSizes(train=2, ade=1, context=1, voc=1)

    def stop(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synth(tmp_path, sizes=sizes, progress=stop)
    assert not (tmp_path / MANIFEST).exists()
    left_over = tmp_path / "coco-stuff" / "images" / "train2017" / "left_over.jpg"
    left_over.write_bytes(b"")
    manifest = synth(tmp_path, sizes=sizes)
    assert not left_over.exists()
    assert json.loads((tmp_path / MANIFEST).read_text()) == manifest
    assert manifest["files"]["coco-stuff/images/train2017"] == 2


def test_foreign_data_sets_are_never_overwritten(tmp_path: Path) -> None:
    precious = tmp_path / "coco-stuff" / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine")
    with pytest.raises(DataError, match="not drawn by this program"):
        synth(tmp_path, sizes=MiniSizes(train=1, ade=1, context=1, voc=1))
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("build", [lambda: MiniSizes(train=0), lambda: MiniSizes(short_side=(8, 9))])
def test_impossible_sizes_are_refused(build: Callable[[], MiniSizes]) -> None:
    with pytest.raises(UsageError, match="impossible sizes"):
        build()


def test_every_voc_picture_shows_its_objects() -> None:
    for index in range(12):
        mask = voc20.DATA_SET.drawn_mask(draw_scene(11, "voc", index, SIZES))
        assert np.mean((mask > 0) & (mask < 255)) >= synth_module.OBJECT_SHARE, picture_key("voc", index)
