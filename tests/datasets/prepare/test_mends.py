"""Every way out that prepare and verify print leads to success, or to another, later message."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from talk import way

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.marker import marker_path
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify
from repro.errors import DataError

ADE, VOC, CONTEXT = "ADEChallengeData2016", "VOCdevkit/VOC2012", "VOCdevkit/VOC2010"


def follow(mend: str) -> int:
    """Run the command of ours that a mend ends with."""
    words = shlex.split(mend[mend.rindex("repro data prepare") :].split(";")[0].split(" (")[0])
    return main(words[1:])


def mends(name: str, root: Path, count: int, split: str | None = None) -> dict[str, str]:
    return {p.kind: p.mend for p in verify(name, root, count, split=split).problems}


def turned(path: Path, orientation: int = 6) -> None:
    """Give an image an EXIF orientation; its pixels as they are."""
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, quality=95, exif=exif.tobytes())


def plain(path: Path) -> None:
    """Save an image without its EXIF orientation, its pixels as they are."""
    Image.fromarray(np.asarray(Image.open(path))).save(path, quality=95)


@pytest.mark.follows(
    "repro.datasets.images:check_upright",
    "repro.datasets.verify.verify:_look#1",
    "repro.datasets.verify.verify:_problem",
)
@pytest.mark.parametrize(
    ("name", "split", "count", "image"),
    [
        ("A-150", "val", 9, f"{ADE}/images/validation/ADE_val_00000001.jpg"),
        ("coco-stuff", "val", 8, "coco-stuff/images/val2017/000000000139.jpg"),
        ("PAS-20", "val", 19, f"{VOC}/JPEGImages/2009_003703.jpg"),
    ],
)
def test_an_image_turned_by_exif_is_named_by_prepare_and_by_verify(
    mini_real: Path, name: str, split: str, count: int, image: str
) -> None:
    path = mini_real / image
    prepare(name, mini_real, split=split)
    turned(path)  # after the preparation: verify names it
    mend = mends(name, mini_real, count, split)["image"]
    assert "EXIF" in mend
    assert str(path) in mend
    assert follow(mend) == 3  # the command alone is not enough: prepare says why
    with pytest.raises(DataError, match="EXIF orientation") as caught:
        prepare(name, mini_real, split=split, again=True)
    plain(path)
    assert follow(caught.value.mend or "") == 0
    assert verify(name, mini_real, count, split=split).ok


def test_a_turned_image_of_a847_is_resized_without_its_orientation(mini_real: Path) -> None:
    turned(next(mini_real.glob("ADE20K_2021_17_01/images/ADE/training/*/*/ADE_train_*.jpg")))
    prepare("A-847", mini_real, split="train")
    assert verify("A-847", mini_real, 3, split="train").ok


def test_an_id_listed_twice_is_one_image(mini_real: Path) -> None:
    listing = mini_real / VOC / "ImageSets/Segmentation/val.txt"
    listing.write_text(listing.read_text() + listing.read_text().split()[0] + "\n")
    assert prepare("PAS-20", mini_real).images == 19
    assert len(prepared_pairs(get_benchmark("PAS-20"), mini_real)) == 19
    assert verify("PAS-20", mini_real, 19).ok


def test_a_list_file_beside_the_json_of_pc59_does_not_count(context_root: Path) -> None:
    prepare("PC-59", context_root)
    listing = context_root / CONTEXT / "pascalcontext_val.txt"
    listing.write_text(listing.read_text() + "2008_000000\n")
    assert verify("PC-59", context_root, 4).ok
    assert len(prepared_pairs(get_benchmark("PC-59"), context_root)) == 4


@pytest.mark.follows("repro.datasets.verify.verify:_file_problems#1")
def test_a_list_with_an_id_too_many_is_mended_as_it_says(context_root: Path) -> None:
    folder = context_root / CONTEXT
    listing = folder / "pascalcontext_val.txt"
    right = listing.read_text()
    first = right.split()[0]
    shutil.copyfile(folder / f"JPEGImages/{first}.jpg", folder / "JPEGImages/2008_000000.jpg")
    shutil.copyfile(folder / f"trainval/{first}.mat", folder / "trainval/2008_000000.mat")
    listing.write_text(right + "2008_000000\n")
    prepare("PC-459", context_root)
    mend = mends("PC-459", context_root, 4)["count"]
    assert str(listing) in mend
    listing.write_text(right)
    assert follow(mend) == 0
    assert verify("PC-459", context_root, 4).ok


def all_void(name: str, root: Path) -> None:
    if name == "A-150":
        masks, value = root / ADE / "annotations/validation", 0
    elif name == "PAS-20":
        masks, value = root / VOC / "SegmentationClassAug", 255
    elif name == "coco-stuff":
        masks, value = root / "coco-stuff/annotations/train2017", 255
    else:
        path = root / CONTEXT / "trainval_merged.json"
        document = json.loads(path.read_text())
        for annotation in document["annos_segmentation"]:
            annotation["image_id"] += 1000  # match no image
        path.write_text(json.dumps(document))
        return
    for path in masks.iterdir():
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), value)).save(path)


@pytest.mark.follows("repro.datasets.prepare.origin:nothing_labelled")
@pytest.mark.parametrize(("name", "count"), [("A-150", 9), ("PAS-20", 19), ("coco-stuff", 13), ("PC-59", 4)])
def test_a_split_without_a_labelled_pixel_is_an_error(request: pytest.FixtureRequest, name: str, count: int) -> None:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    sound = root.with_name("sound")
    shutil.copytree(root, sound)
    all_void(name, root)
    for _ in range(2):
        with pytest.raises(DataError, match=f"no pixel of {count} images has a class") as caught:
            prepare(name, root)
    with pytest.raises(DataError):
        prepared_pairs(get_benchmark(name), root)
    assert not verify(name, root, count).ok
    folder = get_benchmark(name).folder
    shutil.copytree(sound / folder, root / folder, dirs_exist_ok=True)
    assert follow(caught.value.mend or "") == 0
    assert verify(name, root, count, against_sources=True).ok


def test_all_void_labels_of_others_are_a_problem(mini_real: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    marker_path(folder).unlink()
    all_void("A-150", mini_real)
    for path in folder.glob("*.png"):
        Image.fromarray(np.full_like(read_label(path), 255)).save(path)
    report = verify("A-150", mini_real, 9)
    assert [p.kind for p in report.problems] == ["label"]
    assert "no pixel" in report.problems[0].message


def damage_label(folder: Path) -> None:
    (folder / "ADE_val_00000001.png").write_bytes(b"")


def another_value(folder: Path) -> None:
    label = np.array(read_label(folder / "ADE_val_00000001.png"))
    label[0, 0] = 200
    Image.fromarray(label).save(folder / "ADE_val_00000001.png")


def legal_change(folder: Path) -> None:
    label = np.array(read_label(folder / "ADE_val_00000001.png"))
    label[:9] = 7
    Image.fromarray(label).save(folder / "ADE_val_00000001.png")


def absent_label(folder: Path) -> None:
    (folder / "ADE_val_00000001.png").unlink()


def interrupted(folder: Path) -> None:
    note = json.loads(marker_path(folder).read_text())
    marker_path(folder).write_text(json.dumps({**note, "complete": False}))


def other_rules(folder: Path) -> None:
    note = json.loads(marker_path(folder).read_text())
    marker_path(folder).write_text(json.dumps({**note, "rules": "abc"}))


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        way("repro.datasets.verify.verify:_look#2", damage_label, "label"),
        (another_value, "label"),
        way("repro.datasets.verify.verify:verify", legal_change, "histogram"),
        way("repro.datasets.verify.verify:_file_problems#2", absent_label, "missing"),
        way("repro.datasets.verify.verify:_preparation_problems#2", interrupted, "preparation"),
        way("repro.datasets.verify.verify:_preparation_problems#3", other_rules, "preparation"),
    ],
)
@pytest.mark.parametrize("place", ["plain", "with blank", "it's $(x)"])
def test_the_mend_of_verify_leads_to_a_sound_set(mini_real: Path, damage, kind: str, place: str) -> None:
    root = mini_real.with_name(place)
    shutil.move(mini_real, root)
    damage(prepare("A-150", root).folder)
    found = mends("A-150", root, 9)
    assert set(found) == {kind}
    assert "rm " not in found[kind]
    if place != "plain" and "--again" not in found[kind]:
        pytest.skip("prepare's own command is quoted elsewhere")
    assert follow(found[kind]) == 0
    assert verify("A-150", root, 9, against_sources=True).ok


@pytest.mark.follows("repro.datasets.verify.verify:_compare#2")
def test_the_mend_of_a_differing_pixel_leads_to_a_sound_set(mini_real: Path) -> None:
    legal_change(prepare("A-150", mini_real).folder)
    problems = verify("A-150", mini_real, 9, against_sources=True).problems
    assert {p.kind for p in problems} == {"pixels", "histogram"}
    assert follow(problems[0].mend) == 0
    assert verify("A-150", mini_real, 9, against_sources=True).ok


@pytest.mark.follows("repro.datasets.prepare.marker:read_marker")
def test_the_mend_of_a_damaged_note_leads_to_a_sound_set(mini_real: Path, tmp_path: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    marker_path(folder).write_text("{")
    problems = verify("A-150", mini_real, 9).problems
    assert [p.kind for p in problems] == ["preparation"]
    assert str(marker_path(folder)) in problems[0].mend
    shutil.move(marker_path(folder), tmp_path / "note")
    assert prepare("A-150", mini_real).kept == 9
    assert verify("A-150", mini_real, 9, against_sources=True).ok


@pytest.mark.follows(
    "repro.datasets.verify.verify:_file_problems#3",
    "repro.datasets.verify.verify:_file_problems#5",
    "repro.datasets.verify.verify:_file_problems#6",
)
def test_the_mends_of_strange_files_and_lost_images_lead_to_a_sound_set(mini_real: Path, tmp_path: Path) -> None:
    folder = prepare("A-847", mini_real, split="train").folder
    (folder / "notes.txt").touch()
    shutil.copyfile(next(folder.glob("*.tif")), folder / "ADE_train_99999999.tif")
    images = mini_real / "ADE20K_2021_17_01/images_detectron2/training"
    next(images.iterdir()).unlink()
    problems = verify("A-847", mini_real, 3, split="train").problems
    assert sorted(p.kind for p in problems) == ["missing", "orphan", "orphan"]
    for problem in problems:
        if problem.kind == "orphan":
            assert str(folder) in problem.mend
            for name in problem.files:
                shutil.move(name, tmp_path / Path(name).name)
    assert follow(next(p.mend for p in problems if p.kind == "missing")) == 0
    assert verify("A-847", mini_real, 3, split="train").ok


def test_labels_of_others_that_are_damaged_are_to_be_moved(mini_real: Path, tmp_path: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    marker_path(folder).unlink()
    damage_label(folder)
    mend = mends("A-150", mini_real, 9)["label"]
    assert mend.startswith(f"move {folder / 'ADE_val_00000001.png'} elsewhere")
    assert follow(mend) == 3  # still there: a later message
    shutil.move(folder / "ADE_val_00000001.png", tmp_path)
    assert follow(mend) == 0
    assert verify("A-150", mini_real, 9, against_sources=True).ok
