from __future__ import annotations

import cv2
import numpy as np
import pytest

from repro.datasets.benchmarks import BENCHMARKS
from repro.reports.figures.colours import class_colours

A150, A847 = (BENCHMARKS[name].class_names() for name in ("A-150", "A-847"))


def lab(colours: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(colours[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]


def nearest(colours: np.ndarray) -> float:
    distance = np.linalg.norm(lab(colours)[:, None] - lab(colours)[None], axis=2)
    return float(distance[~np.eye(len(colours), dtype=bool)].min())


def test_a_name_has_the_same_colour_today_and_tomorrow():
    assert class_colours(["sky", "cat", "background"]).tolist() == [[198, 100, 248], [86, 216, 254], [89, 89, 89]]


def test_names_added_at_the_end_change_no_colour_before_them():
    np.testing.assert_array_equal(class_colours(A150)[:40], class_colours(A150[:40]))


def test_most_names_have_one_colour_in_every_vocabulary():
    vocabularies = (BENCHMARKS[name].class_names() for name in ("PC-59", "PAS-20"))
    one, other = (dict(zip(names, class_colours(names), strict=True)) for names in vocabularies)
    both = one.keys() & other.keys()
    assert len(both) >= 15
    assert np.mean([np.array_equal(one[n], other[n]) for n in both]) > 0.7


@pytest.mark.parametrize(("count", "apart"), [(20, 12), (40, 12), (150, 11.9), (None, 5)])
def test_colours_of_a_list_can_be_told_apart(count, apart):
    assert nearest(class_colours(A847[:count])) >= apart


def test_a_thousand_names_have_a_thousand_colours():
    colours = class_colours([f"class {i}" for i in range(1000)])
    assert len({tuple(c) for c in colours.tolist()}) == 1000
