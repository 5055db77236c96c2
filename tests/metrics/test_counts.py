from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repro.errors import DataError, ResourceError, RunError
from repro.metrics.counts import Counts, CountsBuilder, confusion_matrix, merge


def naive_confusion(prediction, label, num_classes, ignore_from):
    """Pixel by pixel, in Python."""
    matrix = [[0] * num_classes for _ in range(num_classes)]
    for p, g in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True):
        if g < ignore_from:
            matrix[g][p] += 1
    return np.array(matrix)


def maps(seed=0, num_classes=7, ignore=255, shape=(23, 31), dtype=np.uint8):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, num_classes, shape)
    label[rng.random(shape) < 0.2] = ignore
    return rng.integers(0, num_classes, shape), label.astype(dtype)


def test_confusion_equals_a_pixel_loop():
    prediction, label = maps()
    assert np.array_equal(confusion_matrix(prediction, label, 7, 255), naive_confusion(prediction, label, 7, 255))


def test_sixteen_bit_ignore_label_counts_nowhere():
    prediction, label = maps(num_classes=847, ignore=65535, dtype=np.uint16)
    matrix = confusion_matrix(prediction, label, 847, 65535)
    assert matrix.sum() == (label != 65535).sum()
    assert matrix.dtype == np.int64


def test_class_255_of_a_large_vocabulary_is_a_class():
    label = np.full((2, 2), 255, dtype=np.uint16)
    assert confusion_matrix(np.full((2, 2), 255), label, 847, 65535)[255, 255] == 4


def test_pc459_ignores_459_and_above():
    label = np.array([[458, 459], [460, 65535]], dtype=np.uint16)
    matrix = confusion_matrix(np.zeros((2, 2), dtype=np.int64), label, 459, 459)
    assert matrix.sum() == 1
    assert matrix[458, 0] == 1


def test_predictions_from_the_background_index_on_fold_into_background():
    prediction, label = np.array([[3, 20, 21, 58]]), np.array([[3, 20, 20, 4]], dtype=np.uint8)
    matrix = confusion_matrix(prediction, label, 21, 255, background_index=20)
    assert matrix[3, 3] == 1
    assert matrix[20, 20] == 2
    assert matrix[4, 20] == 1
    assert matrix.sum() == 4


def test_label_between_last_class_and_ignore_label_is_a_data_error_naming_it():
    with pytest.raises(DataError) as caught:
        confusion_matrix(np.zeros((1, 2), dtype=int), np.array([[1, 33]], dtype=np.uint8), 7, 255)
    assert caught.value.found == 33


def test_prediction_outside_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"outside 0\.\.6"):
        confusion_matrix(np.full((1, 1), 7), np.zeros((1, 1), dtype=np.uint8), 7, 255)


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        confusion_matrix(np.zeros((2, 3), dtype=int), np.zeros((3, 2), dtype=np.uint8), 7, 255)


def build(seeds, num_classes=7):
    builder = CountsBuilder(num_classes, 255)
    for seed in seeds:
        builder.add(f"image {seed}", *maps(seed, num_classes))
    return builder.build()


def test_per_image_counts_and_totals_equal_the_summed_confusion():
    counts = build(range(5))
    intersection, truth, predicted = counts.totals()
    assert np.array_equal(intersection, counts.confusion.diagonal())
    assert np.array_equal(truth, counts.confusion.sum(1))
    assert np.array_equal(predicted, counts.confusion.sum(0))
    prediction, label = maps(3)
    third = slice(counts.offsets[3], counts.offsets[4])
    valid = label != 255
    for c, inter, gt, pred in zip(
        counts.classes[third],
        counts.intersection[third],
        counts.ground_truth[third],
        counts.prediction[third],
        strict=True,
    ):
        assert gt == ((label == c) & valid).sum()
        assert pred == ((prediction == c) & valid).sum()
        assert inter == ((prediction == c) & (label == c)).sum()


def test_subset_totals_count_an_image_as_often_as_asked():
    one, two = build([1]).totals(), build([2]).totals()
    both = build([1, 2]).subset_totals(np.array([3, 0]))
    assert all(np.array_equal(b, 3 * a) for a, b in zip(one, both, strict=True))
    both = build([1, 2]).subset_totals(np.array([1, 2]))
    assert all(np.array_equal(c, a + 2 * b) for a, b, c in zip(one, two, both, strict=True))


def test_saved_counts_come_back_equal_and_merge_equals_counting_together(tmp_path: Path):
    together = build(range(6))
    build(range(2)).save(tmp_path / "a.npz")
    build(range(2, 6)).save(tmp_path / "b.npz")
    merged = merge([Counts.load(tmp_path / "a.npz"), Counts.load(tmp_path / "b.npz")])
    for name, array in together.arrays().items():
        assert np.array_equal(array, merged.arrays()[name]), name


def test_counts_over_no_image_are_zero_and_survive_the_disk(tmp_path: Path):
    CountsBuilder(3, 255).build().save(tmp_path / "none.npz")
    empty = Counts.load(tmp_path / "none.npz")
    assert len(empty) == 0
    assert [t.tolist() for t in empty.totals()] == [[0, 0, 0]] * 3


def test_a_truncated_counts_file_is_a_run_error(tmp_path: Path):
    path = tmp_path / "counts.npz"
    build([0]).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match=r"counts\.npz"):
        Counts.load(path)


def test_any_damage_to_a_counts_file_is_a_run_error_or_does_no_harm(tmp_path: Path):
    path = tmp_path / "counts.npz"
    build([0]).save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            damaged[place] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            Counts.load(path)
        except RunError:
            refused += 1
    assert refused > 200  # the rest hit what nobody reads, such as dates


def test_a_full_disk_leaves_the_earlier_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "counts.npz"
    build([0]).save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(ResourceError):
        build([0, 1]).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
