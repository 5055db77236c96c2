"""COCO run lengths against a pixel-by-pixel reading and against strings worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from repro.datasets.prepare.rle import decode_counts, decode_indices, encode_counts, encode_mask


def _slow_decode(text: str) -> list[int]:
    """Character by character, as COCO's documentation words it."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[position]) - 48
            value |= (bits & 31) << shift
            more = bool(bits & 32)
            position += 1
            shift += 5
            if not more and bits & 16:
                value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
    return counts


def test_counts_worked_out_by_hand() -> None:
    # 3 -> "3"; 40 = 8 + 1 * 32 -> group 8 with more, group 1 -> chr(48+8+32) + chr(48+1) = "X1"; then 5 -> "5",
    # and 38, the fourth, as the difference -2 = 30 in five bits -> chr(48+30) = "N".
    assert encode_counts([3, 40, 5, 38]) == "3X15N"
    assert decode_counts("3X15N").tolist() == [3, 40, 5, 38]


def test_decoding_equals_the_character_loop_and_inverts_encoding() -> None:
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 4, 7, 200):
        counts = rng.integers(0, 10 ** int(rng.integers(1, 7)), length).tolist()
        text = encode_counts(counts)
        assert _slow_decode(text) == counts
        assert decode_counts(text).tolist() == counts
        assert decode_counts(text.encode()).tolist() == counts


@pytest.mark.parametrize("fill", [0.0, 0.02, 0.5, 1.0])
def test_mask_survives_encoding_and_decoding(fill: float) -> None:
    mask = np.random.default_rng(1).random((37, 23)) < fill
    encoded = encode_mask(mask)
    flat = np.zeros(mask.size, bool)
    flat[decode_indices(encoded, *mask.shape)] = True
    np.testing.assert_array_equal(flat.reshape(mask.shape[::-1]).T, mask)
    plain = {"size": encoded["size"], "counts": decode_counts(encoded["counts"]).tolist()}
    np.testing.assert_array_equal(decode_indices(plain, *mask.shape), np.flatnonzero(flat))


def test_polygon_is_filled() -> None:
    indices = decode_indices([[2, 1, 5, 1, 5, 3, 2, 3]], 6, 8)
    assert {(i % 6, i // 6) for i in indices.tolist()} == {(y, x) for y in (1, 2, 3) for x in (2, 3, 4, 5)}


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [3, 3], "counts": [0, 16]},
        {"size": [4, 4], "counts": [0, 17]},
        {"size": [4, 4], "counts": [20, -4]},
        {"size": [4, 4], "counts": "X"},
        {"size": [4, 4], "counts": " !"},
        7,
    ],
)
def test_damaged_run_lengths_are_refused(segmentation: object) -> None:
    with pytest.raises(ValueError):
        decode_indices(segmentation, 4, 4)
