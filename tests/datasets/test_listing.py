"""Source files spelled otherwise, folders that are links, and links that lead out of the set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.layout import prepared_pairs, source_pairs
from repro.datasets.listing import check_targets, sources_by_key
from repro.datasets.prepare.command import prepare_alone
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify
from repro.errors import DataError

FOLDERS = {
    "A-150": ("ADEChallengeData2016/images/validation", "ADEChallengeData2016/annotations/validation", 9),
    "PAS-20": ("VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClassAug", 19),
    "coco-stuff": ("coco-stuff/images/train2017", "coco-stuff/annotations/train2017", 13),
}


def labels_of(name: str, root: Path) -> dict[str, bytes]:
    return {p.key: p.label.read_bytes() for p in prepared_pairs(get_benchmark(name), root)}


@pytest.mark.parametrize("name", FOLDERS)
def test_endings_spelled_otherwise_make_the_same_labels(mini_real: Path, tmp_path: Path, name: str) -> None:
    images, masks, count = FOLDERS[name]
    other = tmp_path / "other"
    shutil.copytree(mini_real, other)
    for number, path in enumerate(sorted((other / images).glob("*.jpg"))):
        path.rename(path.with_suffix((".JPG", ".jpeg", ".JPEG", ".jpg")[number % 4]))
    for path in sorted((other / masks).glob("*.png"))[::2]:
        path.rename(path.with_suffix(".PNG"))
    if name == "PAS-20":
        shutil.rmtree(other / "VOCdevkit/VOC2012/SegmentationClass")
    assert prepare(name, mini_real).images == prepare(name, other).images == count
    assert labels_of(name, other) == labels_of(name, mini_real)
    assert verify(name, other, count).ok


def test_the_usual_spelling_goes_first(tmp_path: Path) -> None:
    for name in ("a.JPG", "a.jpg", "a.jpeg", "b.JPEG", ".c.jpg", "d.png", "jpg"):
        (tmp_path / name).touch()
    assert {k: p.name for k, p in sources_by_key(tmp_path, ".jpg").items()} == {"a": "a.jpg", "b": "b.JPEG"}


def test_converted_masks_beside_the_sources_are_left_alone(mini_real: Path) -> None:
    masks = mini_real / "coco-stuff" / "annotations" / "train2017"
    for path in list(masks.glob("*.png")):
        shutil.copyfile(path, path.with_name(f"{path.stem}_labelTrainIds.png"))
    assert prepare("coco-stuff", mini_real).images == 13
    for path in masks.glob("*[0-9].png"):
        path.unlink()
    with pytest.raises(DataError, match="holds converted masks only") as caught:
        source_pairs(get_benchmark("coco-stuff"), mini_real)
    assert "_labelTrainIds.png" in str(caught.value.found)


def test_a_folder_of_scenes_that_is_a_link_is_not_skipped(mini_real: Path, tmp_path: Path) -> None:
    training = mini_real / "ADE20K_2021_17_01/images/ADE/training"
    keys = {p.key for p in source_pairs(get_benchmark("A-847"), mini_real, "train")}
    for number, folder in enumerate(sorted(p for p in training.iterdir() if p.is_dir())):
        folder.rename(tmp_path / f"scene{number}")
        folder.symlink_to(tmp_path / f"scene{number}")
    (tmp_path / "scene0" / "circle").symlink_to(training)
    assert len(keys) == 3
    assert {p.key for p in source_pairs(get_benchmark("A-847"), mini_real, "train")} == keys
    assert prepare("A-847", mini_real, split="train").images == 3


@pytest.mark.parametrize("part", ["annotations_detectron2", "annotations_detectron2/validation"])
@pytest.mark.parametrize("make", [prepare, prepare_alone])
def test_nothing_is_written_through_a_link_that_leads_out(
    mini_real: Path, tmp_path: Path, part: str, make: object
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    link = mini_real / "ADEChallengeData2016" / part
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(away)
    with pytest.raises(DataError, match="links are followed for reading only") as caught:
        make("A-150", mini_real)  # type: ignore[operator]
    assert str(away) in str(caught.value.found)
    assert list(away.rglob("*")) == []
    link.unlink()
    assert make("A-150", mini_real).images == 9  # type: ignore[operator]


def test_the_images_of_a_847_are_not_written_through_a_link_either(mini_real: Path, tmp_path: Path) -> None:
    (mini_real / "ADE20K_2021_17_01" / "images_detectron2").symlink_to(tmp_path)
    with pytest.raises(DataError, match="reading only"):
        prepare("A-847", mini_real, split="train")
    assert not (tmp_path / "training").exists()


def test_source_folders_and_sets_that_are_links_are_read(mini_real: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "ADEChallengeData2016").mkdir(parents=True)
    for part in ("images", "annotations"):
        (root / "ADEChallengeData2016" / part).symlink_to(mini_real / "ADEChallengeData2016" / part)
    (root / "coco-stuff").symlink_to(mini_real / "coco-stuff")
    assert prepare("A-150", root).images == 9
    assert prepare("coco-stuff", root).images == 13
    assert not (mini_real / "ADEChallengeData2016" / "annotations_detectron2").exists()


def test_a_label_that_is_a_link_is_refused_and_never_written_through(mini_real: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"mine")
    folder = mini_real / "ADEChallengeData2016" / "annotations_detectron2" / "validation"
    folder.mkdir(parents=True)
    (folder / "ADE_val_00000001.png").symlink_to(outside)
    (folder / ".ADE_val_00000002.png.partial").symlink_to(outside)
    with pytest.raises(DataError, match="made by others"):
        prepare("A-150", mini_real)
    (folder / "ADE_val_00000001.png").unlink()
    assert prepare("A-150", mini_real).converted == 9
    assert outside.read_bytes() == b"mine"


def test_links_in_a_circle_lead_out(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError):
        check_targets(tmp_path, [tmp_path / "a" / "labels"], "again")
    check_targets(tmp_path, [tmp_path / "new" / "labels"], "again")


def test_masks_numbered_from_one_are_refused_with_the_likely_cause(mini_real: Path) -> None:
    for path in (mini_real / "coco-stuff/annotations/train2017").glob("*.png"):
        mask = np.array(Image.open(path))
        Image.fromarray(mask + np.uint8(1)).save(path)  # 255, unlabelled, becomes 0
    with pytest.raises(DataError, match="outside the vocabulary of coco-stuff") as caught:
        prepare("coco-stuff", mini_real)
    assert "numbered 1..182 with 0 for unlabelled" in str(caught.value.found)
    assert "255 (unlabelled)" in str(caught.value.expected)
    assert f"repro data prepare coco-stuff --data-root {mini_real} --again" in str(caught.value.mend)
