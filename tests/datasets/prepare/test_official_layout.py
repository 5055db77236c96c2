"""Every set as the official scripts leave it: written here class by class, then recognised and never converted again.

The loops are the steps of those scripts (docs/protocol.md) in their order; what ``prepare`` writes must equal them in
every pixel.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facts import label_values
from numpy.typing import NDArray
from PIL import Image

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.data_set import OutsideVocabularyError
from repro.datasets.images import read_label
from repro.datasets.layout import prepared_pairs
from repro.datasets.prepare import formats
from repro.datasets.prepare.prepare import prepare
from repro.datasets.registry import data_sets
from repro.datasets.sets import ade847, coco_stuff, voc20, voc20b
from repro.datasets.verify.verify import verify
from repro.errors import DataError, ResourceError

Array = NDArray[Any]
SETS = {"A-150": 9, "A-847": 3, "PAS-20": 19, "PAS-20b": 19, "coco-stuff": 13, "PC-59": 4, "PC-459": 4}
SPLIT = {"A-847": "train"}


def by_class(mask: Array, mapping: dict[int, int], void: int, dtype: type) -> Array:
    out: Array = np.full(mask.shape, void, dtype)
    for value, label in mapping.items():
        out[mask == value] = label
    return out


def run_by_run(counts: Iterable[int], height: int, width: int) -> Array:
    """COCO's run lengths, one run after the other, down the columns."""
    flat = np.zeros(height * width, np.uint8)
    position, inside = 0, False
    for count in counts:
        flat[position : position + count] = inside
        position, inside = position + count, not inside
    return flat.reshape(width, height).T


def official(name: str, root: Path) -> dict[str, Array]:
    """The label maps by key, class by class."""
    if name == "A-150":
        masks = (root / "ADEChallengeData2016" / "annotations" / "validation").glob("*.png")
        mapping = {v: v - 1 for v in range(1, 151)}
        return {p.stem: by_class(np.asarray(Image.open(p)), mapping, 255, np.uint8) for p in masks}
    if name == "coco-stuff":
        masks = (root / "coco-stuff" / "annotations" / "train2017").glob("*.png")
        mapping = label_values("coco_stuff171")
        return {p.stem: by_class(np.asarray(Image.open(p)), mapping, 255, np.uint8) for p in masks}
    if name == "A-847":
        mapping, out = label_values("ade847"), {}
        for path in (root / "ADE20K_2021_17_01" / "images" / "ADE" / "training").rglob("*_seg.png"):
            red, green = (np.asarray(Image.open(path))[..., i].astype(np.int32) for i in (0, 1))
            ids = (red // 10) * 256 + green
            height, width = ids.shape
            if min(height, width) > 512:
                size = (512, round(width / height * 512)) if width >= height else (round(height / width * 512), 512)
                ids = cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST)
            out[path.stem.removesuffix("_seg")] = by_class(ids, mapping, 65535, np.uint16)
        return out
    if name in ("PAS-20", "PAS-20b"):
        folder = root / "VOCdevkit" / "VOC2012"
        mapping = {v: v - 1 for v in range(1, 21)} | ({0: 20} if name == "PAS-20b" else {})
        keys = (folder / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
        masks = [folder / "SegmentationClassAug" / f"{key}.png" for key in keys]
        return {p.stem: by_class(np.asarray(Image.open(p)), mapping, 255, np.uint8) for p in masks}
    folder = root / "VOCdevkit" / "VOC2010"
    if name == "PC-459":
        from scipy.io import loadmat

        maps = {p.stem: loadmat(p)["LabelMap"] for p in (folder / "trainval").glob("*.mat")}
        mapping = {v: v - 1 for v in range(1, 460)}
        return {key: by_class(label, mapping, 65535, np.uint16) for key, label in maps.items()}
    document = json.loads((folder / "trainval_merged.json").read_text())
    out = {}
    for image in document["images"]:
        if image["phase"] == "val":
            canvas = np.zeros((image["height"], image["width"]))
            for note in document["annos_segmentation"]:
                if note["image_id"] == image["image_id"]:
                    inside = run_by_run(note["segmentation"]["counts"], *canvas.shape)
                    canvas[np.nonzero(inside)] = note["category_id"]
            out[Path(image["file_name"]).stem] = by_class(canvas, label_values("pc59"), 255, np.uint8)
    return out


@pytest.fixture(params=SETS)
def case(request: pytest.FixtureRequest) -> tuple[str, Path]:
    name: str = request.param
    return name, request.getfixturevalue("context_root" if name.startswith("PC") else "mini_real")


def test_prepared_labels_equal_the_loops_in_every_pixel(case: tuple[str, Path]) -> None:
    name, root = case
    prepare(name, root, split=SPLIT.get(name))
    theirs = official(name, root)
    pairs = prepared_pairs(get_benchmark(name), root, SPLIT.get(name))
    assert {p.key for p in pairs} == theirs.keys()
    assert len(pairs) == SETS[name]
    for pair in pairs:
        np.testing.assert_array_equal(read_label(pair.label), theirs[pair.key], strict=True)


def test_data_of_the_official_scripts_are_recognised_and_never_converted_again(
    case: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, root = case
    benchmark = get_benchmark(name)
    part = benchmark.split(SPLIT.get(name))
    folder = root / benchmark.folder / part.labels
    folder.mkdir(parents=True)
    for key, label in official(name, root).items():
        Image.fromarray(label).save(folder / f"{key}{benchmark.label_suffix}")
    if benchmark.resized_images:
        images = root / benchmark.folder / part.images
        images.mkdir(parents=True)
        for path in (root / benchmark.folder / part.source_images).rglob("ADE_*.jpg"):
            Image.fromarray(ade847.DATA_SET.prepared_image(np.asarray(Image.open(path)))).save(images / path.name)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    report = verify(name, root, SETS[name], split=part.name, against_sources=True)
    assert report.ok, str(report)
    assert report.prepared_by == "other scripts"

    def never(*_: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(formats, "convert_source", never)
    summary = prepare(name, root, split=part.name)
    assert (summary.converted, summary.kept) == (0, SETS[name])
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if not p.name.startswith(".")} == before
    again = verify(name, root, SETS[name], split=part.name)
    assert again.ok
    assert (again.prepared_by, again.histogram) == ("repro", report.histogram)


TOTAL = 130
"""Images in the test that kills a preparation."""

EDGES = [
    np.zeros((1, 1), np.uint8),
    np.full((1, 7), 255, np.uint8),
    np.array([[0], [1], [20], [255]], np.uint8),
    np.array([[*range(21), 255]], np.uint8),
    np.arange(21, dtype=np.uint8).repeat(3).reshape(7, 9)[::2, ::-1],
    np.arange(20, dtype=np.uint8).reshape(4, 5).T,
]


@pytest.mark.parametrize("mask", EDGES, ids=lambda m: f"{m.shape}")
@pytest.mark.parametrize("name", ["PAS-20", "PAS-20b", "A-150", "coco-stuff"])
def test_edge_cases_equal_the_loop_and_leave_the_mask_alone(mask: Array, name: str) -> None:
    mapping = {
        "PAS-20": {v: v - 1 for v in range(1, 21)},
        "PAS-20b": {v: (v - 1) % 21 for v in range(21)} | {0: 20},
        "A-150": {v: v - 1 for v in range(1, 151)},
        "coco-stuff": label_values("coco_stuff171"),
    }[name]
    source = np.where(mask == 255, 0, mask).astype(np.uint8) if name == "A-150" else mask
    if name == "coco-stuff":
        source = np.where(source == 11, 12, source).astype(np.uint8)  # 11 was never annotated
    copy = source.copy()
    made = data_sets()[name].convert_mask(source)
    np.testing.assert_array_equal(made, by_class(source, mapping, 255, np.uint8), strict=True)
    np.testing.assert_array_equal(source, copy)


def test_every_legal_voc_value_has_one_meaning_and_all_others_are_refused() -> None:
    for value in range(256):
        mask = np.full((2, 2), value, np.uint8)
        for rule, background in ((voc20.DATA_SET.convert_mask, 255), (voc20b.DATA_SET.convert_mask, 20)):
            if 20 < value < 255:
                with pytest.raises(OutsideVocabularyError, match=f"^{value} "):
                    rule(mask)
            else:
                expected = background if value == 0 else 255 if value == 255 else value - 1
                assert set(rule(mask).ravel().tolist()) == {expected}


def test_an_image_without_annotations_is_all_void(context_root: Path) -> None:
    path = context_root / "VOCdevkit" / "VOC2010" / "trainval_merged.json"
    document = json.loads(path.read_text())
    bare = document["images"][0]
    document["annos_segmentation"] = [n for n in document["annos_segmentation"] if n["image_id"] != bare["image_id"]]
    path.write_text(json.dumps(document))
    prepare("PC-59", context_root)
    pair = next(p for p in prepared_pairs(get_benchmark("PC-59"), context_root) if f"{p.key}.jpg" == bare["file_name"])
    assert set(read_label(pair.label).ravel().tolist()) == {255}
    assert verify("PC-59", context_root, 4).ok


@pytest.mark.parametrize("fails", ["write_bytes", "replace"])
def test_a_write_that_fails_leaves_no_half_label_and_no_partial_file(
    mini_real: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    real: Callable[..., Any] = getattr(Path, fails)
    calls = 0

    def third(self: Path, *args: Any) -> Any:
        nonlocal calls
        if self.name.endswith(".png.partial"):
            calls += 1
            if calls == 3:
                if fails == "write_bytes":
                    real(self, args[0][:50])
                raise OSError(28, "No space left on device")
        return real(self, *args)

    monkeypatch.setattr(Path, fails, third)
    with pytest.raises(ResourceError, match="disk is full"):
        prepare("A-150", mini_real)
    folder = mini_real / "ADEChallengeData2016" / "annotations_detectron2" / "validation"
    assert len([p for p in folder.iterdir() if read_label(p).size]) == 2
    monkeypatch.undo()
    assert (prepare("A-150", mini_real).converted, verify("A-150", mini_real, 9).ok) == (7, True)


def test_a_killed_preparation_goes_on_and_ends_with_the_same_labels(mini_real: Path, tmp_path: Path) -> None:
    source = mini_real / "coco-stuff"
    for path in list((source / "annotations" / "train2017").glob("*.png")):  # enough work to be killed in
        for copy in range(9):
            shutil.copyfile(path, path.with_name(f"{path.stem}{copy:03d}.png"))
            image = source / "images" / "train2017" / f"{path.stem}.jpg"
            os.link(image, image.with_name(f"{path.stem}{copy:03d}.jpg"))
    folder = source / "annotations_detectron2" / "train2017"
    command = [
        sys.executable,
        "-m",
        "repro",
        "data",
        "prepare",
        "coco-stuff",
        "--data-root",
        str(mini_real),
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while (not folder.is_dir() or len(list(folder.glob("[!.]*.png"))) < 10) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    there = len(list(folder.glob("[!.]*.png")))
    assert 10 <= there < TOTAL
    with pytest.raises(DataError, match="interrupted"):
        prepared_pairs(get_benchmark("coco-stuff"), mini_real)
    summary = prepare("coco-stuff", mini_real)
    assert (summary.kept, summary.converted) == (there, TOTAL - there)
    assert list(folder.glob(".*.partial")) == []
    masks = source / "annotations" / "train2017"
    for pair in prepared_pairs(get_benchmark("coco-stuff"), mini_real):
        fresh = coco_stuff.DATA_SET.convert_mask(np.asarray(Image.open(masks / pair.label.name)))
        np.testing.assert_array_equal(read_label(pair.label), fresh)
