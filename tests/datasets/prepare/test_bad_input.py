"""Damaged, missing and impossible data: one error each that names the file, the value, the range and the mend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS, get_benchmark
from repro.datasets.images import check_label, read_image, read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare.marker import marker_path
from repro.datasets.prepare.prepare import prepare
from repro.datasets.verify.verify import verify
from repro.errors import DataError


def _repaint(path: Path, value: int) -> None:
    mask = np.array(Image.open(path))
    mask[3, 5] = value
    Image.fromarray(mask).save(path)


@pytest.mark.parametrize("name", [*BENCHMARKS, *TRAIN_SETS])
def test_a_missing_data_root_names_the_folder_and_where_to_get_it(name: str, tmp_path: Path) -> None:
    benchmark = get_benchmark(name)
    with pytest.raises(DataError) as caught:
        prepare(name, tmp_path)
    assert str(tmp_path / benchmark.folder) in caught.value.message
    assert "http" in (caught.value.mend or "")
    with pytest.raises(DataError, match="absent"):
        prepared_pairs(benchmark, tmp_path)
    report = verify(name, tmp_path)
    assert not report.ok
    assert [p.kind for p in report.problems] == ["preparation"]
    assert report.fingerprint == ""


def test_sources_that_are_not_prepared_name_the_command(mini_real: Path) -> None:
    with pytest.raises(DataError, match="A-150 is not prepared") as caught:
        prepared_pairs(get_benchmark("A-150"), mini_real)
    assert caught.value.mend == f"repro data prepare A-150 --data-root {mini_real}"


@pytest.mark.parametrize(
    ("name", "mask", "value", "legal"),
    [
        ("A-150", "ADEChallengeData2016/annotations/validation/ADE_val_00000002.png", 200, "0..150"),
        ("PAS-20", "VOCdevkit/VOC2012/SegmentationClassAug/2007_001763.png", 160, "0..20 or 255"),
        ("PAS-20b", "VOCdevkit/VOC2012/SegmentationClassAug/2007_001763.png", 21, "0..20 or 255"),
    ],
)
def test_an_impossible_source_value_is_named(mini_real: Path, name: str, mask: str, value: int, legal: str) -> None:
    _repaint(mini_real / mask, value)
    with pytest.raises(DataError) as caught:
        prepare(name, mini_real)
    error = caught.value
    assert str(mini_real / mask) in error.message
    assert error.found == value
    assert str(error.expected).startswith(legal)
    assert f"repro data prepare {name}" in (error.mend or "")
    with pytest.raises(DataError, match="half-prepared"):
        prepared_pairs(get_benchmark(name), mini_real)


def test_a_worker_process_reports_the_same_error(mini_real: Path) -> None:
    mask = mini_real / "ADEChallengeData2016/annotations/validation/ADE_val_00000002.png"
    _repaint(mask, 200)
    with pytest.raises(DataError) as caught:
        prepare("A-150", mini_real, jobs=2)
    assert caught.value.found == 200
    assert caught.value.mend is not None


@pytest.mark.parametrize(
    ("name", "split", "mask"),
    [
        ("A-150", "val", "ADEChallengeData2016/annotations/validation/ADE_val_00000002.png"),
        ("A-847", "train", "ADE20K_2021_17_01/images/ADE/training/urban/street/ADE_train_00016900_seg.png"),
        ("coco-stuff", "val", "coco-stuff/annotations/val2017/000000000139.png"),
    ],
)
def test_a_mask_of_another_size_than_its_image_is_refused(mini_real: Path, name: str, split: str, mask: str) -> None:
    path = mini_real / mask
    array = np.array(Image.open(path))
    Image.fromarray(array[:-1]).save(path)
    with pytest.raises(DataError, match="differ in size") as caught:
        prepare(name, mini_real, split=split)
    assert str(path) in caught.value.message
    assert str(caught.value.expected).startswith(f"{array.shape[0]}x{array.shape[1]}")
    assert caught.value.found == f"{array.shape[0] - 1}x{array.shape[1]}"


def test_a_listed_image_without_mask_is_half_downloaded(mini_real: Path) -> None:
    voc = mini_real / "VOCdevkit" / "VOC2012"
    (voc / "SegmentationClassAug" / "2009_003703.png").unlink()
    assert prepare("PAS-20", mini_real).images == 19  # SegmentationClass has it too
    (voc / "SegmentationClass" / "2009_003703.png").unlink()
    with pytest.raises(DataError, match="1 of 19 annotations are absent") as caught:
        prepare("PAS-20b", mini_real)
    assert "2009_003703.png" in str(caught.value.found)
    (voc / "JPEGImages" / "2007_001311.jpg").unlink()
    with pytest.raises(DataError, match="images are absent"):
        prepare("PAS-20b", mini_real)


def test_a_truncated_mask_and_a_mask_of_another_kind_are_refused(mini_real: Path) -> None:
    folder = mini_real / "coco-stuff" / "annotations" / "val2017"
    path = folder / "000000000139.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        prepare("coco-stuff", mini_real, split="val")
    Image.fromarray(np.zeros((426, 640, 3), np.uint8)).save(path)
    with pytest.raises(DataError, match="unexpected form"):
        prepare("coco-stuff", mini_real, split="val")
    path.write_bytes(whole)
    assert prepare("coco-stuff", mini_real, split="val").images == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annos_segmentation"][1]["segmentation"]["counts"].append(7), "cannot be decoded"),
        (lambda d: d["annos_segmentation"][1]["segmentation"].update(size=[1, 1]), "cannot be decoded"),
        (lambda d: d.pop("annos_segmentation"), "not the annotation file"),
        (lambda d: d["images"][0].update(height=7), "cannot be decoded"),
        (lambda d: d["annos_segmentation"][1].update(category_id="x" * 9000), "cannot be decoded"),
        (lambda d: d["annos_segmentation"][1]["segmentation"].update(counts=[2**80]), "cannot be decoded"),
        (lambda d: d["annos_segmentation"][1]["segmentation"].update(size=[1] * 9000), "cannot be decoded"),
    ],
)
def test_damaged_pascal_context_json_is_refused(context_root: Path, change: object, message: str) -> None:
    path = context_root / "VOCdevkit" / "VOC2010" / "trainval_merged.json"
    document = json.loads(path.read_text())
    change(document)  # type: ignore[operator]
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=message) as caught:
        prepare("PC-59", context_root)
    assert len(str(caught.value)) < 2048
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match="not the annotation file"):
        prepare("PC-59", context_root)


def test_damaged_mat_files_are_refused(context_root: Path) -> None:
    from scipy.io import savemat

    path = next(iter((context_root / "VOCdevkit" / "VOC2010" / "trainval").glob("*.mat")))
    whole = path.read_bytes()
    for content in (b"", b"no MATLAB file at all, but long enough to have a header" * 9, whole[:5000]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            prepare("PC-459", context_root)
    savemat(path, {"Other": np.zeros((3, 3))})
    with pytest.raises(DataError, match="cannot be read"):
        prepare("PC-459", context_root)
    path.write_bytes(whole)
    assert prepare("PC-459", context_root).images == 4


@pytest.mark.parametrize(
    ("value", "dtype"), [(65536, np.uint32), (65537, np.int64), (1e6, np.float64), (2**40, np.uint64)]
)
def test_class_numbers_beyond_16_bits_are_refused_not_wrapped(context_root: Path, value: float, dtype: type) -> None:
    from scipy.io import loadmat, savemat

    path = min((context_root / "VOCdevkit" / "VOC2010" / "trainval").glob("*.mat"))
    label_map = loadmat(path)["LabelMap"].astype(dtype)
    label_map[3, 5] = value
    savemat(path, {"LabelMap": label_map})
    with pytest.raises(DataError, match="beyond 16 bits") as caught:
        prepare("PC-459", context_root)
    assert str(path) in caught.value.message
    assert caught.value.found == value
    label_map[3, 5] = 65535
    savemat(path, {"LabelMap": label_map})
    assert prepare("PC-459", context_root).images == 4


@pytest.mark.parametrize("keep", [0.0, 0.03, 0.5, 0.9])
def test_a_truncated_jpeg_is_refused_even_where_pillow_was_told_to_be_lenient(
    mini_real: Path, keep: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import ImageFile

    path = mini_real / "coco-stuff" / "images" / "val2017" / "000000000139.jpg"
    read_image(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(path) in caught.value.message
    assert caught.value.mend


def test_absent_image_and_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image .* is absent"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"label .* is absent"):
        read_label(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("A-150", [0, 149, 255], [150, 254]),
        ("A-847", [0, 846, 65535], [847, 65534]),
        ("PC-459", [0, 458, 459, 460, 65535], []),
        ("PC-59", [0, 58, 255], [59]),
        ("PAS-20", [0, 19, 255], [20]),
        ("PAS-20b", [0, 20, 255], [21]),
        ("coco-stuff", [0, 170, 255], [171]),
    ],
)
def test_check_label_accepts_classes_and_ignored_and_nothing_else(name: str, good: list[int], bad: list[int]) -> None:
    benchmark = get_benchmark(name)
    label = np.array([good], benchmark.label_dtype)
    assert check_label(label, benchmark, Path("x.png"), (1, len(good), 3)).sum() == len(good)
    for value in bad:
        with pytest.raises(DataError) as caught:
            check_label(np.array([[0, value]], benchmark.label_dtype), benchmark, Path("x.png"))
        assert str(value) in str(caught.value.found)
        assert "x.png" in caught.value.message
        assert name in (caught.value.mend or "")
    with pytest.raises(DataError, match="differ in size"):
        check_label(label, benchmark, Path("x.png"), (2, len(good)))


def test_verify_names_every_kind_of_damage_and_its_mend(mini_real: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    images = mini_real / "ADEChallengeData2016" / "images" / "validation"
    broken = images / "ADE_val_00000001.jpg"
    broken.write_bytes(broken.read_bytes()[:2000])
    _repaint(folder / "ADE_val_00000002.png", 200)
    Image.fromarray(np.zeros((300, 400), np.uint16)).save(folder / "ADE_val_00000003.png")
    shutil.copyfile(folder / "ADE_val_00001349.png", folder / "ADE_val_00001996.png")
    (folder / "ADE_val_00001599.png").write_bytes(b"")
    report = verify("A-150", mini_real)
    assert not report.ok
    found = {(p.kind, p.message.split("; ")[0].replace(str(mini_real), "")) for p in report.problems}
    text = str(report)
    assert {kind for kind, _ in found} == {"count", "image", "label"}
    for name in ("ADE_val_00000001.jpg", "ADE_val_00000002.png", "ADE_val_00000003.png", "ADE_val_00001996.png"):
        assert name in text
    assert "ADE_val_00001599.png" in text
    assert "200 (1 pixels)" in text
    assert "uint16" in text
    assert all(p.mend for p in report.problems)
    assert len(report.problems) == 6
    json.dumps(report.to_json())


def test_verify_notices_legal_labels_that_changed(mini_real: Path) -> None:
    folder = prepare("PAS-20b", mini_real).folder
    _repaint(folder / "2009_003703.png", 7)
    assert [p.kind for p in verify("PAS-20b", mini_real, expected_count=19).problems] == ["histogram"]


def test_a_damaged_note_is_refused_with_its_path(mini_real: Path) -> None:
    folder = prepare("A-150", mini_real).folder
    marker_path(folder).write_text("{")
    with pytest.raises(DataError, match="damaged") as caught:
        prepared_pairs(get_benchmark("A-150"), mini_real)
    assert str(marker_path(folder)) in str(caught.value)
