"""Prepared labels know what they were made of; labels of others are compared, and nothing of theirs is removed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.marker import marker_path, read_marker
from repro.datasets.prepare.origin import origin_path
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify
from repro.errors import DataError

ADE = "ADEChallengeData2016"


def change_context(root: Path) -> None:
    path = root / "VOCdevkit/VOC2010/trainval_merged.json"
    document = json.loads(path.read_text())
    first = document["images"][0]["image_id"]
    wrong = [a for a in document["annos_segmentation"] if a["image_id"] == first]
    wrong[-1]["category_id"] = 2 if wrong[-1]["category_id"] != 2 else 9
    path.write_text(json.dumps(document))


def change_mat(root: Path) -> None:
    from scipy.io import loadmat, savemat

    path = sorted((root / "VOCdevkit/VOC2010/trainval").glob("*.mat"))[0]
    label_map = loadmat(path)["LabelMap"]
    label_map[:5] = 7
    savemat(path, {"LabelMap": label_map})


def changed_mask(mask: str):
    def change(root: Path) -> None:
        path = root / mask
        pixels = np.array(Image.open(path))
        pixels[:5] = 10 if pixels.ndim == 3 else 3
        Image.fromarray(pixels).save(path)

    return change


CASES = [
    ("A-150", "val", 9, changed_mask(f"{ADE}/annotations/validation/ADE_val_00000001.png")),
    ("PAS-20", "val", 19, changed_mask("VOCdevkit/VOC2012/SegmentationClassAug/2009_003703.png")),
    ("PAS-20b", "val", 19, changed_mask("VOCdevkit/VOC2012/SegmentationClassAug/2009_003703.png")),
    ("coco-stuff", "val", 8, changed_mask("coco-stuff/annotations/val2017/000000000139.png")),
    ("PC-59", "val", 4, change_context),
    ("PC-459", "val", 4, change_mat),
]


@pytest.mark.parametrize(("name", "split", "count", "change"), CASES)
def test_corrected_sources_are_refused_until_the_labels_are_made_again(
    request: pytest.FixtureRequest, name: str, split: str, count: int, change
) -> None:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    before = {p.key: p.label.read_bytes() for p in _prepared(name, root, split)}
    change(root)
    with pytest.raises(DataError, match="made from other sources") as caught:
        prepare(name, root, split=split)
    mend = caught.value.mend or ""
    assert mend.endswith("--again")
    report = verify(name, root, count, split=split)
    assert [(p.kind, p.mend) for p in report.problems] == [("preparation", mend)]
    assert main(mend.split()[1:]) == 0
    after = {p.key: p.label.read_bytes() for p in prepared_pairs(get_benchmark(name), root, split)}
    assert sum(before[key] != after[key] for key in before) == 1
    assert verify(name, root, count, split=split, against_sources=True).ok


def _prepared(name: str, root: Path, split: str):
    prepare(name, root, split=split)
    return prepared_pairs(get_benchmark(name), root, split)


def test_a_resized_image_of_a847_is_made_again_too(mini_real: Path) -> None:
    pair = _prepared("A-847", mini_real, "train")[0]
    source = next(mini_real.glob(f"ADE20K_2021_17_01/images/ADE/training/*/*/{pair.key}.jpg"))
    pixels = np.array(Image.open(source))
    Image.fromarray(255 - pixels).save(source)
    with pytest.raises(DataError, match=pair.key):
        prepare("A-847", mini_real, split="train")
    before = pair.image.read_bytes()
    prepare("A-847", mini_real, split="train", again=True)
    assert pair.image.read_bytes() != before


def test_touched_and_removed_sources_are_no_change(mini_real: Path) -> None:
    prepare("A-150", mini_real)
    masks = mini_real / ADE / "annotations" / "validation"
    for path in masks.iterdir():
        os.utime(path, ns=(1, 1))
    assert prepare("A-150", mini_real).kept == 9
    assert verify("A-150", mini_real, 9).ok
    shutil.rmtree(masks)
    assert prepare("A-150", mini_real).kept == 9


def test_an_image_that_is_no_longer_listed_loses_its_label_by_again_only(mini_real: Path) -> None:
    folder = prepare("PAS-20", mini_real).folder
    listing = mini_real / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    ids = listing.read_text().split()
    listing.write_text("\n".join(ids[1:]) + "\n")
    with pytest.raises(DataError, match="made from other sources"):
        prepare("PAS-20", mini_real)
    problems = verify("PAS-20", mini_real, 18).problems
    assert {p.kind for p in problems} == {"preparation", "orphan"}
    assert all(p.mend.endswith("--again") for p in problems)
    assert prepare("PAS-20", mini_real, again=True).images == 18
    assert not (folder / f"{ids[0]}.png").exists()
    assert verify("PAS-20", mini_real, 18).ok


def forgotten(folder: Path) -> None:
    """The note of version 0.1.0, which did not say what labels were made of."""
    note = json.loads(marker_path(folder).read_text())
    del note["origin"], note["adopted"]
    marker_path(folder).write_text(json.dumps(note))
    origin_path(folder).unlink()


def test_labels_of_0_1_0_are_compared_with_their_sources_and_made_again_by_prepare(mini_real: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    forgotten(folder)
    report = verify("A-150", mini_real, 9)
    assert report.ok
    assert report.compared
    CASES[0][3](mini_real)  # a source is corrected after version 0.1.0 read it
    (problem,) = verify("A-150", mini_real, 9).problems
    assert problem.kind == "pixels"
    assert problem.mend.endswith("--again")
    assert prepare("A-150", mini_real).converted == 9
    assert verify("A-150", mini_real, 9).ok


def test_labels_of_0_1_0_without_their_sources_stay_and_verify_says_so(mini_real: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    forgotten(folder)
    shutil.rmtree(mini_real / ADE / "annotations")
    assert prepare("A-150", mini_real).kept == 9
    assert "made by repro, not known from what" in str(verify("A-150", mini_real, 9))


@pytest.mark.parametrize(("name", "split", "count", "change"), CASES)
def test_a_source_of_the_same_size_and_time_is_still_another_source(
    request: pytest.FixtureRequest, name: str, split: str, count: int, change: Callable[[Path], None]
) -> None:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    files = [p for p in root.rglob("*") if p.is_file()]
    for path in files:
        os.utime(path, ns=(1, 1))
    prepare(name, root, split=split)
    sizes = {p: p.stat().st_size for p in files}
    change(root)
    for path in files:  # padded to the old size where it became shorter: readers do not look beyond the end
        with path.open("ab") as stream:
            stream.write(b" " * max(0, sizes[path] - path.stat().st_size))
        os.utime(path, ns=(1, 1))
    report = verify(name, root, count, split=split)
    assert [p.kind for p in report.problems] == ["preparation"]
    assert "differ from those" in report.problems[0].message


RAW = [
    ("A-150", 9, f"{ADE}/annotations/validation", f"{ADE}/annotations_detectron2/validation"),
    ("PAS-20", 19, "VOCdevkit/VOC2012/SegmentationClassAug", "VOCdevkit/VOC2012/annotations_detectron2/val"),
    ("PC-59", 4, "VOCdevkit/VOC2010/SegmentationClassContext", "VOCdevkit/VOC2010/annotations_detectron2/pc59_val"),
]


@pytest.mark.parametrize(("name", "count", "masks", "labels"), RAW)
def test_raw_masks_in_the_place_of_labels_are_refused_and_not_touched(
    request: pytest.FixtureRequest, name: str, count: int, masks: str, labels: str, tmp_path: Path
) -> None:
    root: Path = request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")
    target = root / labels
    target.mkdir(parents=True)
    keys = _keys(name, root)
    for path in (root / masks).iterdir():
        if path.stem in keys:
            shutil.copyfile(path, target / path.name)
    before = {p.name: p.read_bytes() for p in target.iterdir()}
    for again in (False, True):
        with pytest.raises(DataError, match="made by others") as caught:
            prepare(name, root, again=again)
        assert str(count) in caught.value.message
        assert {p.name: p.read_bytes() for p in target.iterdir()} == before
        assert not marker_path(target).exists()
    assert not verify(name, root, count).ok
    # The way out: move them, then the command that is named.
    mend = caught.value.mend or ""
    shutil.move(target, tmp_path / "moved")
    assert main(mend.partition("then repro ")[2].split()) == 0
    assert verify(name, root, count, against_sources=True).ok


def _keys(name: str, root: Path) -> set[str]:
    from repro.datasets.layout import source_pairs

    return {s.key for s in source_pairs(get_benchmark(name), root)}


def _official(root: Path) -> Path:
    """The labels of A-150 as the official script writes them."""
    target = root / ADE / "annotations_detectron2" / "validation"
    target.mkdir(parents=True)
    for path in (root / ADE / "annotations" / "validation").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) - 1).save(target / path.name)
    return target


def test_equal_labels_of_others_are_adopted_and_never_removed(mini_real: Path) -> None:
    target = _official(mini_real)
    before = {p.name: p.read_bytes() for p in target.iterdir()}
    summary = prepare("A-150", mini_real)
    assert summary.kept == 9
    assert "made by others, every label equals its source" in str(summary)
    marker = read_marker(target)
    assert marker is not None
    assert len(marker.adopted) == 9
    with pytest.raises(DataError, match="not replaced"):
        prepare("A-150", mini_real, again=True)
    assert {p.name: p.read_bytes() for p in target.iterdir()} == before
    # Labels that are made here later beside them are made again, theirs are not.
    (target / "ADE_val_00000001.png").unlink()
    assert prepare("A-150", mini_real).converted == 1


def test_labels_of_others_without_sources_are_said_not_to_be_compared(
    mini_real: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = _official(mini_real)
    shutil.rmtree(mini_real / ADE / "annotations")
    assert "made by others, not compared" in str(prepare("A-150", mini_real))
    assert "other scripts, not compared" in str(verify("A-150", mini_real, 9))
    assert not marker_path(target).exists()


def test_one_differing_label_of_others_is_named(mini_real: Path) -> None:
    path = _official(mini_real) / "ADE_val_00000002.png"
    label = np.array(read_label(path))
    label[3, 5] = 7 if label[3, 5] != 7 else 8
    Image.fromarray(label).save(path)
    with pytest.raises(DataError, match="1 of 9 labels") as caught:
        prepare("A-150", mini_real)
    assert "ADE_val_00000002.png differs from its source in 1 of" in str(caught.value.found)
    assert "row 3, column 5" in str(caught.value.found)


def test_an_interrupted_preparation_goes_on_from_corrected_sources(mini_real: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("A-150", mini_real, progress=stop)
    changed_mask(f"{ADE}/annotations/validation/ADE_val_00000001.png")(mini_real)
    assert prepare("A-150", mini_real).converted == 6
    assert verify("A-150", mini_real, 9, against_sources=True).ok


def test_again_makes_every_label_and_leaves_other_files(mini_real: Path) -> None:
    folder = prepare("coco-stuff", mini_real, split="val").folder
    (folder / "mine.txt").write_text("notes")
    some = sorted(folder.glob("*.png"))[0]
    before = some.read_bytes()
    Image.fromarray(np.full_like(read_label(some), 3)).save(some)
    assert prepare("coco-stuff", mini_real, split="val", again=True).converted == 8
    assert some.read_bytes() == before
    assert (folder / "mine.txt").read_text() == "notes"
