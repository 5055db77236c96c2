"""Preparation against a loop over classes, in one process, in CPU time: the conversion itself and the whole file.

Run: pytest tests/speed/test_prepare_speed.py --benchmark-only. The ratios are stored as ``times_faster``. Masks
are the real samples where they are there, else generated blocks.

The loop is what the official scripts do where they loop: one boolean mask a class of the vocabulary, or (``present``,
COCO-Stuff and A-847 there) a class found by ``numpy.unique``. Reading and writing PNG is common to both ways and takes
most of the time of a file, so the whole file is held to less than the conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from in_turn import times_faster
from numpy.typing import NDArray
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.listing import SourcePair
from repro.datasets.prepare.formats import Task, perform
from repro.datasets.prepare.rle import decode_indices, encode_mask
from repro.datasets.sets import ade150, ade847, coco_stuff, pc59, pc459, voc20, voc20b
from repro.datasets.vocabulary import load_vocabulary

ADE150_RULE, COCO_RULE, VOC20B_RULE, VOC20_RULE = (
    module.DATA_SET.convert_mask for module in (ade150, coco_stuff, voc20b, voc20)
)

Array = NDArray[Any]
AT_LEAST = 3
"""Times faster a conversion is; 5.6 to 112 measured on two shared cores."""


def blocks(values: Sequence[int], height: int = 375, width: int = 500, classes: int = 8) -> Array:
    """Regions of a few classes, as masks have."""
    rng = np.random.default_rng(0)
    few = rng.choice(values, classes)
    coarse = rng.choice(few, (height // 25, width // 25))
    return np.kron(coarse, np.ones((25, 25), np.int64))


def read(pattern: str, samples: Path | None) -> list[Array]:
    found = sorted(samples.glob(pattern))[:12] if samples else []
    return [np.asarray(Image.open(path)) for path in found]


@pytest.fixture
def samples(request: pytest.FixtureRequest) -> Path | None:
    """The real samples, None where they are absent: unlike elsewhere these tests do not need them."""
    try:
        return Path(request.getfixturevalue("photographs"))
    except pytest.skip.Exception:
        return None


def loop(mask: Array, mapping: Mapping[int, int], void: int, dtype: type, present: bool = False) -> Array:
    out: Array = np.full(mask.shape, void, dtype)
    for value in np.unique(mask) if present else mapping:
        if value in mapping:
            out[mask == value] = mapping[value]
    return out


def column(vocabulary: str, field: str) -> dict[int, int]:
    return {value: index for index, value in enumerate(load_vocabulary(vocabulary).column(field))}


ADE150 = {v: v - 1 for v in range(1, 151)}
VOC = {v: v - 1 for v in range(1, 21)}
EIGHT_BIT: dict[str, tuple[Callable[[Array], Array], dict[int, int], str]] = {
    "A-150": (ADE150_RULE, ADE150, "ADEChallengeData2016/annotations/validation/*.png"),
    "PAS-20": (VOC20_RULE, VOC, "VOCdevkit/VOC2012/SegmentationClassAug/*.png"),
    "PAS-20b": (VOC20B_RULE, {**VOC, 0: 20}, "VOCdevkit/VOC2012/SegmentationClassAug/*.png"),
    "coco-stuff": (
        COCO_RULE,
        column("coco_stuff171", "stuffthingmaps_value"),
        "coco-stuff/annotations/*/*.png",
    ),
}


def masks_of(name: str, samples: Path | None) -> list[Array]:
    _, mapping, pattern = EIGHT_BIT[name]
    return read(pattern, samples) or [blocks([0, *mapping]).astype(np.uint8)]


@pytest.mark.parametrize("name", EIGHT_BIT)
def test_conversion_of_an_8_bit_mask_is_several_times_faster_than_a_loop(
    name: str, benchmark: BenchmarkFixture, samples: Path | None
) -> None:
    rule, mapping, _ = EIGHT_BIT[name]
    masks, present = masks_of(name, samples), name == "coco-stuff"

    def fast() -> None:
        for mask in masks:
            rule(mask)

    def slow() -> None:
        for mask in masks:
            loop(mask, mapping, 255, np.uint8, present)

    assert all(np.array_equal(rule(m), loop(m, mapping, 255, np.uint8)) for m in masks)
    times_faster(benchmark, fast, slow, AT_LEAST)


def test_conversion_of_ade847_is_several_times_faster_than_a_loop(
    benchmark: BenchmarkFixture, samples: Path | None
) -> None:
    mapping = column("ade847", "ade20k_full_id")
    ids = blocks(list(mapping), 1500, 2000, classes=15)  # size and classes of the real samples
    made = [np.stack([ids // 256 * 10, ids % 256, ids * 0], axis=-1).astype(np.uint8)]
    masks = read("ADE20K_2021_17_01/images/ADE/training/*/*/*_seg.png", samples) or made

    def official(segmentation: Array) -> Array:
        found = (segmentation[:, :, 0] / 10).astype(np.int32) * 256 + segmentation[:, :, 1].astype(np.int32)
        height, width = ade847.reduced_size(*found.shape)
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST)
        return loop(found, mapping, 65535, np.uint16, present=True)

    assert all(np.array_equal(ade847.to_label(m), official(m)) for m in masks)
    fast, slow = lambda: [ade847.to_label(m) for m in masks], lambda: [official(m) for m in masks]
    times_faster(benchmark, fast, slow, AT_LEAST)


def test_conversion_of_context59_is_several_times_faster_than_a_loop(benchmark: BenchmarkFixture) -> None:
    mapping = column("pc59", "pascal_context_id")
    label = blocks(list(mapping))
    notes: list[dict[str, Any]] = [
        {"category_id": int(v), "segmentation": encode_mask(label == v)} for v in np.unique(label)
    ]

    def official() -> Array:
        canvas = np.zeros(label.shape)
        for note in notes:  # decoding is common to both ways
            mask = np.zeros(label.size, np.uint8)
            mask[decode_indices(note["segmentation"], *label.shape)] = 1
            canvas[np.nonzero(mask.reshape(label.shape[::-1]).T)] = note["category_id"]
        return loop(canvas, mapping, 255, np.uint8)

    fast = partial(pc59.to_label, notes, *label.shape)
    assert np.array_equal(fast(), official())
    times_faster(benchmark, fast, official, AT_LEAST)


def test_conversion_of_context459_is_several_times_faster_than_a_loop(benchmark: BenchmarkFixture) -> None:
    mapping = {v: v - 1 for v in range(1, 460)}
    label_map = blocks(list(mapping)).astype(np.uint16)
    slow = partial(loop, label_map, mapping, 65535, np.uint16, present=True)
    assert np.array_equal(pc459.to_label(label_map), slow())
    times_faster(benchmark, partial(pc459.to_label, label_map), slow, AT_LEAST)


@pytest.mark.parametrize("name", EIGHT_BIT)
def test_a_whole_file_from_png_to_png_is_no_slower_than_the_scripts_with_a_loop(
    name: str, benchmark: BenchmarkFixture, samples: Path | None, tmp_path: Path
) -> None:
    _, mapping, _ = EIGHT_BIT[name]
    void_check, present = name.startswith("PAS"), name == "coco-stuff"
    tasks = []
    for number, mask in enumerate(masks_of(name, samples)):
        image, source = tmp_path / f"{number}.jpg", tmp_path / f"{number}.png"
        Image.new("RGB", mask.shape[::-1]).save(image)
        Image.fromarray(mask).save(source)
        target = tmp_path / "ours" / f"{number}.png"
        tasks.append(Task(get_benchmark(name).id, SourcePair(str(number), image, source), target, None, False, ""))
    theirs = tmp_path / "theirs"
    theirs.mkdir()

    def fast() -> None:
        for task in tasks:
            perform(task)

    def slow() -> None:
        for task in tasks:
            label = loop(np.array(Image.open(task.source.label)), mapping, 255, np.uint8, present)
            if void_check and np.unique(label).tolist() == [255]:
                continue
            Image.fromarray(label).save(theirs / task.label.name)

    times_faster(benchmark, fast, slow, at_least=0.8)
    for task in tasks:
        assert np.array_equal(np.asarray(Image.open(task.label)), np.asarray(Image.open(theirs / task.label.name)))
