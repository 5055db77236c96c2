from __future__ import annotations

import itertools
from collections import Counter

import pytest

from repro.training.sampler import StreamSampler


def test_every_epoch_is_a_permutation():
    stream = [index for index, _ in StreamSampler(7, 21, seed=3)]
    for epoch in range(3):
        assert sorted(stream[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert stream[:7] != stream[7:14]


def test_entering_the_stream_equals_its_tail():
    whole = list(StreamSampler(5, 40, seed=1))
    entered = StreamSampler(5, 40, seed=1)
    entered.start = 23
    assert list(entered) == whole[23:]
    assert len(entered) == 17


def test_positions_number_the_stream():
    assert [position for _, position in StreamSampler(3, 10, seed=0)] == list(range(10))


def test_processes_together_walk_the_same_stream():
    whole = list(StreamSampler(5, 24, seed=1))
    parts = [list(StreamSampler(5, 24, seed=1, rank=rank, world=3)) for rank in range(3)]
    assert Counter(itertools.chain(*parts)) == Counter(whole)
    assert parts[1] == whole[1::3]


def test_seeds_give_different_orders():
    assert list(StreamSampler(50, 50, seed=0)) != list(StreamSampler(50, 50, seed=1))


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        StreamSampler(0, 10, seed=0)
