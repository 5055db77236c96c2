"""Drawn data are known by what decides their pictures: other sizes of one set leave the others as they are."""

import dataclasses

import pytest

from repro.configuration.profiles import load_profile
from repro.runs.data import Data

SETS = ("coco-stuff", "A-847", "A-150", "PC-459", "PC-59", "PAS-20")


def keys(tmp_path, **changes):
    profile = load_profile("smoke")
    data = {**profile.data, "sizes": {**profile.data["sizes"], **changes}}
    found = Data(dataclasses.replace(profile, data=data), tmp_path, None)
    return {name: found.data_key(name) for name in SETS}


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"context": 7}, {"PC-459", "PC-59"}),
        ({"voc": 7}, {"PAS-20"}),
        ({"ade": 7}, {"A-847", "A-150"}),
        ({"train": 7}, {"coco-stuff"}),
        ({"short_side": (40, 44)}, set(SETS)),
    ],
)
def test_a_size_moves_the_sets_it_decides_and_no_other(tmp_path, changes, moved):
    before, after = keys(tmp_path), keys(tmp_path, **changes)
    assert {name for name in SETS if before[name] != after[name]} == moved
