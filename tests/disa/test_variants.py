from __future__ import annotations

from disa.variants import class_split, known_kinds
from repro.datasets.benchmarks import BENCHMARKS
from repro.datasets.vocabulary import load_vocabulary


def test_things_and_stuff_are_coco_s_own() -> None:
    coco = load_vocabulary("coco_stuff171")
    assert class_split(coco.names).tolist() == list(coco.things)


def test_an_unknown_name_is_a_thing_and_case_does_not_matter() -> None:
    assert class_split(["quokka", "Person", " sky "]).tolist() == [True, True, False]


def test_the_trained_vocabulary_decides_where_two_differ() -> None:
    assert load_vocabulary("ade150").kinds[load_vocabulary("ade150").names.index("curtain")] == "thing"
    assert class_split(["curtain"]).tolist() == [False]


def test_every_benchmark_has_both_or_only_things() -> None:
    for benchmark in BENCHMARKS.values():
        names = benchmark.prompt_names()
        assert all(name.strip().casefold() in known_kinds() for name in names), benchmark.id
        assert class_split(names).any()


def test_another_taxonomy_may_be_given() -> None:
    assert class_split(["dog", "sky"], {"dog": "stuff"}).tolist() == [False, True]
