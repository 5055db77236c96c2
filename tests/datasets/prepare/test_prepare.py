"""Preparation on real samples: what is written where, resumed, recognised and verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.images import read_image, read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.marker import marker_path
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.fingerprint import fingerprint
from repro.datasets.verify.verify import verify
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import DataError

REAL = [
    ("A-150", "val", 9, "ADEChallengeData2016/annotations_detectron2/validation/ADE_val_00000001.png"),
    ("A-150", "train", 7, "ADEChallengeData2016/annotations_detectron2/training/ADE_train_00000036.png"),
    ("A-847", "train", 3, "ADE20K_2021_17_01/annotations_detectron2/training/ADE_train_00016869.tif"),
    ("PAS-20", "val", 19, "VOCdevkit/VOC2012/annotations_detectron2/val/2009_003703.png"),
    ("PAS-20b", "val", 19, "VOCdevkit/VOC2012/annotations_detectron2_bg/val/2009_003703.png"),
    ("coco-stuff", "train", 13, "coco-stuff/annotations_detectron2/train2017/000000017914.png"),
    ("coco-stuff", "val", 8, "coco-stuff/annotations_detectron2/val2017/000000000139.png"),
]


@pytest.mark.parametrize(("name", "split", "count", "label"), REAL)
def test_every_real_sample_is_prepared_where_the_official_scripts_write(
    mini_real: Path, name: str, split: str, count: int, label: str
) -> None:
    calls: list[tuple[int, int]] = []
    summary = prepare(name, mini_real, split=split, progress=lambda done, total: calls.append((done, total)))
    assert (summary.images, summary.converted, summary.kept, summary.dropped) == (count, count, 0, 0)
    assert calls == [(i, count) for i in range(1, count + 1)]
    assert (mini_real / label).is_file()
    pairs = prepared_pairs(get_benchmark(name), mini_real, split)
    assert len(pairs) == count
    assert [p.key for p in pairs] == sorted(p.key for p in pairs)
    for pair in pairs:
        assert read_image(pair.image).shape[:2] == read_label(pair.label).shape
    again = prepare(name, mini_real, split=split)
    assert (again.converted, again.kept) == (0, count)
    report = verify(name, mini_real, expected_count=count, split=split)
    assert report.ok, str(report)
    assert report.label_type == get_benchmark(name).label_dtype
    assert sum(report.pixels.values()) == sum(read_label(p.label).size for p in pairs)


def test_ade847_images_are_those_the_official_script_writes(mini_real: Path) -> None:
    import cv2

    prepare("A-847", mini_real, split="train")
    for pair in prepared_pairs(get_benchmark("A-847"), mini_real, "train"):
        original = next(mini_real.glob(f"ADE20K_2021_17_01/images/ADE/training/*/*/{pair.key}.jpg"))
        image = np.asarray(Image.open(original))
        height, width = image.shape[:2]
        resized = cv2.resize(image, (round(width / height * 512), 512), interpolation=cv2.INTER_LINEAR)
        expected = mini_real / "expected.jpg"
        Image.fromarray(resized).save(expected)
        assert expected.read_bytes() == pair.image.read_bytes()
        assert read_label(pair.label).dtype == np.uint16


def test_context_labels_equal_the_real_masks_by_name(context_root: Path) -> None:
    prepare("PC-59", context_root)
    prepare("PC-459", context_root)
    folder = context_root / "VOCdevkit" / "VOC2010"
    names = [line.partition(": ")[2] for line in (folder / "60_labels_index_order.txt").read_text().splitlines()]
    names = [{"table": "diningtable"}.get(n, n) for n in names]
    short, full = load_vocabulary("pc59").names, load_vocabulary("pc459").names
    # In the list of 459 the dining table is called table.
    assert full[int(load_vocabulary("pc59").rows[short.index("diningtable")]["pascal_context_id"]) - 1] == "table"
    small = prepared_pairs(get_benchmark("PC-59"), context_root)
    large = prepared_pairs(get_benchmark("PC-459"), context_root)
    assert [p.key for p in small] == [p.key for p in large]
    assert len(small) == 4
    for pair, pair459 in zip(small, large, strict=True):
        mask = np.asarray(Image.open(folder / "SegmentationClassContext" / f"{pair.key}.png"))
        label, label459 = read_label(pair.label), read_label(pair459.label)
        assert label459.dtype == np.uint16
        for value in np.unique(mask):
            inside = mask == value
            if value == 0:
                assert set(label[inside].tolist()) == {255}
                assert set(label459[inside].tolist()) == {65535}
                continue
            assert set(label[inside].tolist()) == {short.index(names[value])}
            name459 = {"diningtable": "table"}.get(names[value], names[value])
            assert set(label459[inside].tolist()) == {full.index(name459)}
    assert verify("PC-59", context_root, expected_count=4).ok
    assert verify("PC-459", context_root, expected_count=4).ok


def test_processes_do_not_change_the_result(mini_real: Path) -> None:
    summary = prepare("PAS-20", mini_real, jobs=2)
    histogram = verify("PAS-20", mini_real, expected_count=19, jobs=2).histogram
    shutil.rmtree(summary.folder)
    marker_path(summary.folder).unlink()
    prepare("PAS-20", mini_real)
    assert verify("PAS-20", mini_real, expected_count=19).histogram == histogram


def test_interrupted_preparation_is_recognised_and_resumed(mini_real: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare("A-150", mini_real, progress=stop)
    with pytest.raises(DataError, match="half-prepared") as caught:
        prepared_pairs(get_benchmark("A-150"), mini_real)
    assert caught.value.mend == f"repro data prepare A-150 --data-root {mini_real}"
    resumed = prepare("A-150", mini_real)
    assert (resumed.converted, resumed.kept) == (5, 4)
    whole = verify("A-150", mini_real, expected_count=9)
    assert whole.ok
    # The histogram of a resumed preparation covers the labels of the first attempt too.
    marker = json.loads(marker_path(resumed.folder).read_text())
    assert sum(marker["histogram"].values()) == sum(whole.pixels.values())


def test_a_deleted_label_makes_the_set_half_prepared_until_prepared_again(mini_real: Path) -> None:
    folder = prepare("coco-stuff", mini_real).folder
    next(iter(folder.glob("*.png"))).unlink()
    with pytest.raises(DataError, match="half-prepared"):
        prepared_pairs(get_benchmark("coco-stuff"), mini_real)
    assert prepare("coco-stuff", mini_real).converted == 1
    assert len(prepared_pairs(get_benchmark("coco-stuff"), mini_real)) == 13


def test_a_truncated_or_wrong_label_of_an_unfinished_folder_is_made_again(mini_real: Path) -> None:
    folder = prepare("PAS-20", mini_real).folder
    note = json.loads(marker_path(folder).read_text())
    marker_path(folder).write_text(json.dumps({**note, "complete": False}))
    labels = sorted(folder.glob("*.png"))
    before = {p.name: read_label(p) for p in labels}
    labels[0].write_bytes(labels[0].read_bytes()[:100])
    Image.fromarray(np.full(before[labels[1].name].shape, 99, np.uint8)).save(labels[1])
    assert prepare("PAS-20", mini_real).converted == 2
    for path in labels:
        np.testing.assert_array_equal(read_label(path), before[path.name])


def test_labels_of_the_official_scripts_are_recognised_without_a_note(mini_real: Path) -> None:
    folder = mini_real / "ADEChallengeData2016"
    target = folder / "annotations_detectron2" / "validation"
    target.mkdir(parents=True)
    for path in (folder / "annotations" / "validation").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) - 1).save(target / path.name)
    assert len(prepared_pairs(get_benchmark("A-150"), mini_real)) == 9
    assert verify("A-150", mini_real, expected_count=9).ok
    times = {p.name: p.stat().st_mtime_ns for p in target.glob("*.png")}
    assert prepare("A-150", mini_real).kept == 9
    assert {p.name: p.stat().st_mtime_ns for p in target.glob("*.png")} == times
    (target / "ADE_val_00000001.png").unlink()
    marker_path(target).unlink()
    with pytest.raises(DataError, match="half-prepared"):
        prepared_pairs(get_benchmark("A-150"), mini_real)


def test_labels_of_unlisted_images_are_refused_not_deleted(mini_real: Path) -> None:
    folder = prepare("PAS-20", mini_real).folder
    stray = folder / "2007_999999.png"
    shutil.copyfile(next(iter(folder.glob("*.png"))), stray)
    with pytest.raises(DataError, match="removed or added"):
        prepared_pairs(get_benchmark("PAS-20"), mini_real)
    with pytest.raises(DataError, match="2007_999999"):
        prepare("PAS-20", mini_real)
    assert stray.is_file()


def test_an_image_without_a_labelled_pixel_is_dropped_from_pas20_only(mini_real: Path) -> None:
    masks = mini_real / "VOCdevkit" / "VOC2012" / "SegmentationClassAug"
    size = np.asarray(Image.open(masks / "2009_003703.png")).shape
    empty = np.zeros(size, np.uint8)
    empty[0] = 255
    Image.fromarray(empty).save(masks / "2009_003703.png")
    assert prepare("PAS-20", mini_real).dropped == 1
    keys = {p.key for p in prepared_pairs(get_benchmark("PAS-20"), mini_real)}
    assert len(keys) == 18
    assert "2009_003703" not in keys
    assert verify("PAS-20", mini_real, expected_count=19).ok
    assert prepare("PAS-20b", mini_real).dropped == 0
    assert len(prepared_pairs(get_benchmark("PAS-20b"), mini_real)) == 19
    # Official folders have no note: the dropped image is then told from its mask.
    marker_path(mini_real / "VOCdevkit/VOC2012/annotations_detectron2/val").unlink()
    assert len(prepared_pairs(get_benchmark("PAS-20"), mini_real)) == 18


def test_more_images_than_at_the_first_preparation_are_taken_in(mini_real: Path) -> None:
    source = mini_real / "coco-stuff"
    hidden = mini_real / "hidden.png", mini_real / "hidden.jpg"
    mask = source / "annotations/train2017/000000017914.png"
    image = source / "images/train2017/000000017914.jpg"
    mask.rename(hidden[0])
    image.rename(hidden[1])
    assert prepare("coco-stuff", mini_real).images == 12
    first = fingerprint("coco-stuff", mini_real)
    hidden[0].rename(mask)
    hidden[1].rename(image)
    assert prepare("coco-stuff", mini_real).converted == 1
    assert fingerprint("coco-stuff", mini_real) != first


def test_coco_run_lengths_may_be_compressed(context_root: Path) -> None:
    from repro.datasets.prepare.rle import encode_counts

    path = context_root / "VOCdevkit" / "VOC2010" / "trainval_merged.json"
    prepare("PC-59", context_root)
    before = verify("PC-59", context_root, expected_count=4).histogram
    document = json.loads(path.read_text())
    for annotation in document["annos_segmentation"]:
        annotation["segmentation"]["counts"] = encode_counts(annotation["segmentation"]["counts"])
    path.write_text(json.dumps(document))
    folder = context_root / "VOCdevkit" / "VOC2010" / "annotations_detectron2" / "pc59_val"
    shutil.rmtree(folder)
    assert prepare("PC-59", context_root).converted == 4
    assert verify("PC-59", context_root, expected_count=4).histogram == before
