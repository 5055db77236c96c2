"""Data sets that are known by a list of names alone."""

from __future__ import annotations

from pathlib import Path

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.listed import listed_set, of_record
from repro.runs.evaluations import Evaluation


def test_a_listed_set_is_prompted_by_first_synonyms_and_split_by_its_things() -> None:
    found = listed_set("rooms", ["wall", "couch, sofa"], "a house", images=3, things=["couch, sofa"])
    assert found.prompt_names() == ("wall", "couch")
    assert found.class_kinds() == ("stuff", "thing")
    assert (found.num_classes, found.ignore_label, found.split().num_images) == (2, 255, 3)
    assert "test" in found.split("test").name


def test_an_evaluation_on_a_set_that_nothing_describes_is_read_by_its_record() -> None:
    record = {"benchmark": "rooms", "num_images": 3, "per_class": [{"name": "wall"}, {"name": "sky"}]}
    found = Evaluation("a", 0, Path(), record).benchmark
    assert (found.id, found.class_names(), found) == ("rooms", ("wall", "sky"), of_record(record))
    assert Evaluation("a", 0, Path(), {**record, "benchmark": "A-150"}).benchmark == get_benchmark("A-150")
