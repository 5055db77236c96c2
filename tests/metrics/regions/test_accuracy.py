"""Panoptic files, frames, and the measure Boxes / Masks-T / Masks-S."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.datasets.panoptic import (
    PANOPTIC,
    ids_to_colours,
    panoptic_fingerprint,
    panoptic_vocabulary,
    read_ids,
    read_panoptic,
)
from repro.errors import DataError, UsageError
from repro.metrics.regions.accuracy import Ranks, classify_segments, mask_features, rank_of
from repro.metrics.regions.frame import frame_boxes, frame_image, frame_masks
from repro.metrics.regions.prompts import category_embeddings
from repro.metrics.regions.roi_align import roi_align

CATEGORIES = [
    {"id": 9, "name": "sky", "isthing": 0},
    {"id": 1, "name": "cat", "isthing": 1},
    {"id": 4, "name": "dog", "isthing": 1},
]


@pytest.fixture(scope="module")
def tower() -> ClipTower:
    return build_tower(TowerSpec("tiny", None, resolution=48, dense_residual="token"))


def write_set(root: Path, segments: list[dict[str, Any]], ids: np.ndarray) -> tuple[Path, Path, Path]:
    """A set of one image of noise; ``ids`` (H, W) are drawn into its PNG."""
    pixels = np.random.default_rng(0).integers(0, 255, (*ids.shape, 3), np.uint8)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    Image.fromarray(pixels).save(root / "images" / "7.png")
    Image.fromarray(ids_to_colours(ids)).save(root / "masks" / "7.png")
    document = {
        "images": [{"id": 7, "file_name": "7.png", "height": ids.shape[0], "width": ids.shape[1]}],
        "annotations": [{"image_id": 7, "file_name": "7.png", "segments_info": segments}],
        "categories": CATEGORIES,
    }
    (root / "panoptic.json").write_text(json.dumps(document))
    return root / "panoptic.json", root / "masks", root / "images"


def segment(number: int, category: int, box: tuple[int, int, int, int], crowd: int = 0) -> dict[str, Any]:
    return {"id": number, "category_id": category, "bbox": list(box), "iscrowd": crowd, "area": 1}


def test_recorded_cells_of_a_mask_on_the_grid() -> None:
    mask = torch.zeros(1, 480, 640, dtype=torch.bool)
    mask[0, 100:240, 33:300] = True
    mask[0, 400:404, 500:504] = True
    assert int(frame_masks(mask, 32).sum()) == 91
    smooth = F.interpolate(mask[None].float(), (24, 32), mode="bicubic", antialias=True) > 0
    assert int(smooth.sum()) == 147


def test_frame_keeps_the_aspect_and_is_black_right_and_below() -> None:
    image = np.full((100, 50, 3), 200, np.uint8)
    framed = frame_image(image, 20)
    assert framed.shape == (3, 20, 20)
    assert (framed[:, :, :10] == 200).all()
    assert (framed[:, :, 10:] == 0).all()
    boxes = frame_boxes(np.array([[0, 0, 50, 100]], np.float32), 100, 50, 20)
    assert boxes.tolist() == [[0, 0, 0.5, 1]]


def test_ids_survive_the_colours_of_a_png(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 255], [256, 65536, 2**24 - 1]], np.int32)
    Image.fromarray(ids_to_colours(ids)).save(tmp_path / "ids.png")
    assert (read_ids(tmp_path / "ids.png") == ids).all()


def test_categories_stand_by_ascending_id(tmp_path: Path) -> None:
    data = read_panoptic(*write_set(tmp_path / "set", [segment(5, 9, (0, 0, 9, 9))], np.full((12, 12), 5)))
    assert data.names == ("cat", "dog", "sky")
    assert data.things == (True, True, False)
    assert data.images[0].segments[0].category == 2


def test_small_and_huge_boxes_are_left_out_crowds_are_not(tmp_path: Path, tower: ClipTower) -> None:
    ids = np.zeros((40, 60), np.int32)
    ids[:20], ids[20:, :30], ids[20:, 30:37] = 300, 2, 3
    segments = [
        segment(300, 9, (0, 0, 1, 1)),  # stuff: its own box, whatever the file says
        segment(2, 1, (0, 20, 30, 20), crowd=1),
        segment(3, 4, (30, 20, 7, 9)),  # 63 square pixels
        segment(4, 4, (0, 0, 1025, 1024)),  # more than 1024 squared
        segment(5, 9, (0, 0, 30, 30)),  # stuff without a pixel
    ]
    data = read_panoptic(*write_set(tmp_path / "set", segments, ids))
    text = F.normalize(torch.randn(3, 32), dim=-1)
    ranks = classify_segments(tower, text, data, 48)
    assert ranks.category.tolist() == [2, 0]
    assert ranks.thing.tolist() == [False, True]
    assert ranks.images == 1


def test_ranks_follow_from_features_computed_by_hand(tmp_path: Path, tower: ClipTower) -> None:
    ids = np.ones((48, 48), np.int32)
    ids[16:32, 8:40] = 2
    segments = [segment(1, 9, (1, 2, 3, 4)), segment(2, 1, (8, 16, 32, 16)), segment(3, 4, (3, 5, 21, 30))]
    ids[40:, 32:] = 3
    data = read_panoptic(*write_set(tmp_path / "set", segments, ids))
    names = 997  # more categories than the file has: ranks then tell features that differ a little
    torch.manual_seed(0)
    text = F.normalize(torch.randn(names, 32), dim=-1)
    ranks = classify_segments(tower, text, data, 48)
    pixels = torch.from_numpy(np.array(Image.open(data.images[0].image))).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        dense = F.normalize(tower.dense(pixels, size=(48, 48)).map[0], dim=0)
    boxes = [(0, 0, 47, 47), (8, 16, 40, 32), (3, 5, 24, 35)]  # stuff: from the first to the last of its pixels
    of_boxes = roi_align(dense[None], torch.tensor([boxes]) / 48)[0]
    assert ranks.category.tolist() == [2, 0, 1]
    for place, category in enumerate((2, 0, 1)):
        cells = torch.from_numpy((ids == place + 1)[4::8, 4::8].copy())  # masks made of whole cells of 8 pixels
        for found, feature in ((ranks.mask, dense[:, cells].mean(dim=1)), (ranks.box, of_boxes[place])):
            scores = text @ F.normalize(feature, dim=0)
            assert found[place] == int((scores > scores[category]).sum())


def test_vanished_mask_has_no_feature_and_counts_with_the_first_of_equals() -> None:
    features = mask_features(torch.randn(4, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool))
    assert (features == 0).all()
    assert rank_of(features @ torch.randn(4, 9), torch.tensor([6])).tolist() == [6]


def test_ranks_count_what_stands_before() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.3, 0.3]])
    assert rank_of(scores, torch.tensor([0, 1])).tolist() == [2, 1]


def example() -> Ranks:
    """Four things of two categories, two stuff segments, in three images."""
    return Ranks(
        3,
        image=np.array([0, 0, 1, 1, 0, 2], np.int32),
        category=np.array([0, 0, 0, 1, 2, 2], np.int16),
        thing=np.array([1, 1, 1, 1, 0, 0], bool),
        box=np.array([0, 3, 9, 0, 0, 0], np.int16),
        mask=np.array([0, 0, 9, 9, 4, 0], np.int16),
    )


def test_accuracy_is_the_mean_over_categories_of_shares_rounded_to_half_precision() -> None:
    ranks = example()
    third = float(np.float16(1 / 3))
    assert ranks.accuracy("boxes", 1) == (third + 1) / 2
    assert ranks.accuracy("boxes", 5) == (float(np.float16(2 / 3)) + 1) / 2
    assert ranks.accuracy("masks_thing", 1) == float(np.float16(2 / 3)) / 2
    assert ranks.accuracy("masks_stuff", 1) == 0.5
    assert ranks.accuracy("masks_stuff", 5) == 1.0


def test_resampling_every_image_once_is_the_accuracy_and_weights_count_images() -> None:
    ranks = example()
    times = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 2]], np.float64)
    found = ranks.resampled("masks_thing", 1, times)
    assert found[0] == pytest.approx((2 / 3 + 0) / 2)
    assert found[1] == pytest.approx(1.0)
    assert np.isnan(found[2])


def test_ranks_survive_their_file(tmp_path: Path) -> None:
    example().save(tmp_path / "ranks.npz")
    stored = Ranks.load(tmp_path / "ranks.npz")
    assert stored.images == 3
    assert stored.accuracy("boxes", 5) == example().accuracy("boxes", 5)


@pytest.mark.parametrize(("name", "things", "size"), [("coco133", 80, 133), ("ade150", 100, 150)])
def test_panoptic_vocabularies_have_their_published_things(name: str, things: int, size: int) -> None:
    categories = panoptic_vocabulary(name)
    assert (sum(categories.things), len(categories)) == (things, size)
    ids = categories.column("panoptic_id")
    assert list(ids) == sorted(set(ids))


def test_real_sample_is_read_and_classified(photographs: Path, tower: ClipTower) -> None:
    root = photographs / "coco_panoptic_sample"
    paths = root / "panoptic_examples.json", root / "panoptic_examples", root / "input_images"
    data = read_panoptic(*paths)
    known = panoptic_vocabulary("coco133")
    assert (data.names, data.things) == (known.names, known.things)
    for item in data.images:
        assert {s.id for s in item.segments} == set(np.unique(read_ids(item.mask))) - {0}
    text = F.normalize(category_embeddings(tower, data.names, templates=("{}",)), dim=-1)
    ranks = classify_segments(tower, text, data, 96)
    counted = [s for item in data.images for s in item.segments]
    assert 0 < len(ranks.category) <= len(counted)
    assert ranks.box.max() < 133
    assert panoptic_fingerprint(*paths) == panoptic_fingerprint(*paths)


def test_detection_annotations_and_absent_files_are_refused(tmp_path: Path) -> None:
    boxes, _, images = write_set(tmp_path / "set", [], np.ones((4, 4), np.int32))
    document = json.loads(boxes.read_text())
    encoded = {"size": [4, 4], "counts": "04<"}  # as in COCO's detection format: one annotation a segment
    document["annotations"] = [{"id": 1, "image_id": 7, "category_id": 1, "segmentation": encoded, "iscrowd": 0}]
    boxes.write_text(json.dumps(document))
    with pytest.raises(DataError, match="panoptic"):
        read_panoptic(boxes, images, images)
    with pytest.raises(DataError, match="absent"):
        read_panoptic(tmp_path / "no.json", images, images)
    with pytest.raises(DataError, match="no panoptic mask"):
        read_ids(_grey(tmp_path / "grey.png"))


def _grey(path: Path) -> Path:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    return path


def test_an_image_of_another_size_than_its_mask_is_an_error(tmp_path: Path, tower: ClipTower) -> None:
    paths = write_set(tmp_path / "set", [segment(1, 1, (0, 0, 20, 20))], np.ones((30, 30), np.int32))
    Image.fromarray(np.zeros((30, 31, 3), np.uint8)).save(paths[2] / "7.png")
    with pytest.raises(DataError, match="differ in size"):
        classify_segments(tower, torch.randn(3, 32), read_panoptic(*paths), 48)


def test_unknown_panoptic_set_names_the_known_ones() -> None:
    from repro.datasets.panoptic import get_panoptic

    with pytest.raises(UsageError, match="coco-panoptic"):
        get_panoptic("coco")
    assert set(PANOPTIC) == {"coco-panoptic", "ade-panoptic"}
