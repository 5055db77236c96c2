from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_set import NAMES, TinyPair, write_pairs

from repro.errors import DataError
from repro.training import train_set
from repro.training.settings import TrainSettings
from repro.training.train_set import TrainSet, collate

pytest.importorskip("mmseg")

SETTINGS = TrainSettings(short_side=32, crop=32)


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path)


def test_a_sample_is_an_eight_bit_rgb_crop_with_its_position(pairs):
    sample = TrainSet(pairs, len(NAMES), SETTINGS, seed=0)[2, 17]
    assert sample["image"].shape == (3, 32, 32)
    assert sample["image"].dtype == sample["label"].dtype == torch.uint8
    assert sample["label"].shape == (32, 32)
    assert sample["position"] == 17


def test_a_crop_depends_on_position_and_seed_alone(pairs):
    one, two = (TrainSet(pairs, len(NAMES), SETTINGS, seed=s) for s in (0, 1))
    first = one[1, 5]["image"]
    one[3, 9]
    np.random.random(100)  # noqa: NPY002
    assert torch.equal(one[1, 5]["image"], first)
    assert not torch.equal(two[1, 5]["image"], first)
    assert not torch.equal(one[1, 6]["image"], first)


@pytest.mark.parametrize("size", [(1, 6000), (6000, 1), (1, 1)])
def test_an_image_of_one_row_or_column_gives_a_padded_crop(tmp_path, size):
    (pair,) = write_pairs(tmp_path / "long", 1, sizes=(size,))
    data = TrainSet([pair], len(NAMES), SETTINGS, seed=0)
    for position in range(3):
        sample = data[0, position]
        assert sample["image"].shape == (3, 32, 32)
        assert sample["label"].shape == (32, 32)
    if 6000 in size:  # all but one row or column is padding
        assert (sample["label"] == 255).sum() >= 31 * 32


def test_a_label_outside_the_vocabulary_is_returned_as_a_data_error_naming_file_and_value(pairs):
    label = np.asarray(Image.open(pairs[0].label)).copy()
    label[3, 3] = 77
    Image.fromarray(label).save(pairs[0].label)
    error = TrainSet(pairs, len(NAMES), SETTINGS, seed=0)[0, 0]
    assert isinstance(error, DataError)
    assert error.found == "77"
    assert str(pairs[0].label) in error.message


def test_image_and_label_of_different_size_are_a_data_error(pairs):
    odd = TinyPair("odd", pairs[0].image, pairs[1].label)
    error = TrainSet([odd], len(NAMES), SETTINGS, seed=0)[0, 0]
    assert isinstance(error, DataError)
    assert "48x64" in str(error)
    assert "70x40" in str(error)


def test_a_truncated_image_is_a_data_error(pairs):
    pairs[0].image.write_bytes(pairs[0].image.read_bytes()[:100])
    assert isinstance(TrainSet(pairs, len(NAMES), SETTINGS, seed=0)[0, 0], DataError)


def test_an_error_survives_the_way_from_a_worker_and_wins_over_the_batch(pairs):
    error = pickle.loads(pickle.dumps(DataError("bad", expected="a", found="b", mend="c")))  # noqa: S301 (our own bytes)
    assert (error.expected, error.found, error.mend) == ("a", "b", "c")
    good = TrainSet(pairs, len(NAMES), SETTINGS, seed=0)[0, 0]
    assert collate([good, error, good]) is error
    assert collate([good, good])["image"].shape == (2, 3, 32, 32)


def test_more_classes_than_eight_bits_hold_are_refused(pairs):
    with pytest.raises(ValueError, match="255"):
        TrainSet(pairs, 256, SETTINGS, seed=0)


def _spied(data: TrainSet, monkeypatch) -> list[int]:
    read: list[int] = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda index: read.append(index) or load(index))
    return read


def test_without_workers_a_pair_is_decoded_once_and_later_crops_are_those_of_the_file(pairs, monkeypatch):
    data = TrainSet(pairs, len(NAMES), TrainSettings(short_side=32, crop=32, workers=0), seed=0)
    fresh = TrainSet(pairs, len(NAMES), SETTINGS, seed=0)
    read = _spied(data, monkeypatch)
    for position in range(12):
        ours, theirs = data[position % 2, position], fresh[position % 2, position]
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert read == [0, 1]
    repeated = _spied(fresh, monkeypatch)
    fresh[0, 0], fresh[0, 1]
    assert repeated == [0, 0]  # workers read beside the steps


def test_decoded_pairs_are_kept_up_to_their_memory(pairs, monkeypatch):
    image, label = TrainSet(pairs, len(NAMES), SETTINGS, seed=0).load(0)
    monkeypatch.setattr(train_set, "KEPT_BYTES", image.nbytes + label.nbytes)
    data = TrainSet(pairs, len(NAMES), TrainSettings(short_side=32, crop=32, workers=0), seed=0)
    read = _spied(data, monkeypatch)
    for index in (0, 1, 0, 1):
        data[index, 0]
    assert read == [0, 1, 1]
