"""Every conversion rule against a loop over label values written from the protocol facts, on real masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facts import label_values
from numpy.typing import NDArray
from PIL import Image

from repro.datasets.data_set import OutsideVocabularyError
from repro.datasets.sets import ade150, ade847, coco_stuff, pc59, pc459, voc20, voc20b

ADE150_RULE, COCO_RULE, VOC20B_RULE, VOC20_RULE = (
    module.DATA_SET.convert_mask for module in (ade150, coco_stuff, voc20b, voc20)
)

Array = NDArray[Any]


def _loop(mask: Array, mapping: dict[int, int], void: int, dtype: type) -> Array:
    """One boolean mask a value: slow, and plainly the rule."""
    out: Array = np.full(mask.shape, void, dtype)
    for value, label in mapping.items():
        out[mask == value] = label
    return out


def _real(photographs: Path, pattern: str) -> list[Array]:
    found = sorted(photographs.glob(pattern))
    assert found, pattern
    return [np.asarray(Image.open(p)) for p in found]


def test_ade150_equals_the_loop_on_real_masks(photographs: Path) -> None:
    mapping = {v: v - 1 for v in range(1, 151)}
    for mask in _real(photographs, "ADEChallengeData2016/annotations/*/*.png"):
        np.testing.assert_array_equal(ADE150_RULE(mask), _loop(mask, mapping, 255, np.uint8), strict=True)


def test_ade150_wraps_other_to_255() -> None:
    assert ADE150_RULE(np.array([[0, 1, 150]], np.uint8)).tolist() == [[255, 0, 149]]


@pytest.mark.parametrize(("rule", "background"), [(VOC20_RULE, 255), (VOC20B_RULE, 20)])
def test_voc_equals_the_loop_on_real_masks(photographs: Path, rule: Callable[[Array], Array], background: int) -> None:
    mapping = {**{v: v - 1 for v in range(1, 21)}, 0: background}
    for mask in _real(photographs, "VOCdevkit/VOC2012/SegmentationClass*/*.png"):
        np.testing.assert_array_equal(rule(mask), _loop(mask, mapping, 255, np.uint8), strict=True)


def test_coco_stuff_equals_the_loop_on_every_legal_value() -> None:
    """The loop is also what the rule was before it refused values: legal masks have the labels they had."""
    mapping = label_values("coco_stuff171")
    mask = np.array([[*mapping, 255]], np.uint8)
    assert mask.size == 172
    np.testing.assert_array_equal(COCO_RULE(mask), _loop(mask, mapping, 255, np.uint8), strict=True)


NEVER_ANNOTATED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


@pytest.mark.parametrize("value", [*NEVER_ANNOTATED, *range(182, 255)])
def test_coco_stuff_refuses_values_that_cannot_occur(value: int) -> None:
    mask = np.array([[0, 181], [255, value]], np.uint8)
    with pytest.raises(OutsideVocabularyError) as caught:
        COCO_RULE(mask)
    assert caught.value.value == value
    assert ("1..182" in caught.value.cause) == (value <= 182)


def test_coco_stuff_equals_the_loop_on_real_masks(photographs: Path) -> None:
    mapping = label_values("coco_stuff171")
    for mask in _real(photographs, "coco-stuff/annotations/*/*.png"):
        np.testing.assert_array_equal(COCO_RULE(mask), _loop(mask, mapping, 255, np.uint8), strict=True)


def _official_ade847(segmentation: Array, mapping: dict[int, int]) -> Array:
    """The steps in the order of the official script: decode, resize as int32, then map."""
    ids = (segmentation[:, :, 0] / 10).astype(np.int32) * 256 + segmentation[:, :, 1].astype(np.int32)
    height, width = ids.shape
    if width >= height > 512:
        ids = cv2.resize(ids, (round(width / float(height) * 512), 512), interpolation=cv2.INTER_NEAREST)
    elif height >= width > 512:
        ids = cv2.resize(ids, (512, round(height / float(width) * 512)), interpolation=cv2.INTER_NEAREST)
    return _loop(ids, mapping, 65535, np.uint16)


def test_ade847_equals_the_loop_on_real_masks_upright_and_lying(photographs: Path) -> None:
    mapping = label_values("ade847")
    for segmentation in _real(photographs, "ADE20K_2021_17_01/images/ADE/training/*/*/*_seg.png"):
        for view in (segmentation, segmentation.transpose(1, 0, 2).copy(), segmentation[:400, :900]):
            made = ade847.to_label(view)
            np.testing.assert_array_equal(made, _official_ade847(view, mapping), strict=True)
            assert made.shape == ade847.reduced_size(*view.shape[:2])


def test_ade847_knows_all_847_ids() -> None:
    mapping = label_values("ade847")
    ids = np.array(sorted(mapping))
    segmentation = np.stack([ids // 256 * 10 + 9, ids % 256, ids * 0], axis=-1).astype(np.uint8)[None]
    assert ade847.to_label(segmentation)[0].tolist() == [mapping[i] for i in ids]


@pytest.mark.parametrize(
    ("size", "reduced"),
    [((512, 900), (512, 900)), ((513, 1024), (512, 1022)), ((1024, 513), (1022, 512)), ((600, 600), (512, 512))],
)
def test_ade_size_brings_only_larger_shorter_sides_to_512(size: tuple[int, int], reduced: tuple[int, int]) -> None:
    assert ade847.reduced_size(*size) == reduced


def test_context459_shifts_by_one_in_16_bits() -> None:
    label = pc459.to_label(np.array([[0, 1, 459, 460]], np.uint16))
    assert label.dtype == np.uint16
    assert label.tolist() == [[65535, 0, 458, 459]]


def test_context59_paints_in_file_order_and_other_ids_are_void() -> None:
    def box(category: int, x0: int, x1: int) -> dict[str, Any]:
        flat = np.zeros((3, 4), bool)
        flat[:, x0:x1] = True
        runs = [x0 * 3, (x1 - x0) * 3, (4 - x1) * 3]
        return {"category_id": category, "segmentation": {"size": [3, 4], "counts": runs}}

    painted = pc59.to_label([box(2, 0, 3), box(458, 1, 4), box(431, 3, 4)], 3, 4)
    assert painted.tolist() == [[0, 58, 58, 255]] * 3


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (ADE150_RULE, 151),
        (ADE150_RULE, 200),
        (VOC20_RULE, 21),
        (VOC20_RULE, 160),
        (VOC20B_RULE, 254),
    ],
)
def test_a_value_outside_the_vocabulary_is_named(rule: Callable[[Array], Array], value: int) -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[1, 2] = value
    with pytest.raises(OutsideVocabularyError) as caught:
        rule(mask)
    assert caught.value.value == value
