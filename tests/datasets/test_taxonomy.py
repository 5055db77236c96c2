"""Things and stuff: published counts, the order of precedence of docs/taxonomy.md, and where names may disagree."""

from __future__ import annotations

import dataclasses

import pytest

from repro.datasets.benchmarks import get_benchmark
from repro.datasets.protocol import Protocol, protocol_digest
from repro.datasets.vocabulary import Vocabulary, load_vocabulary, vocabulary_names

DISAGREEING = {
    "cabinet", "counter", "curtain", "desk", "door", "fence", "flower", "food", "light", "mirror", "pillow", "railing",
    "screen", "shelf", "stairs", "table", "towel", "pole", "trafficlight",
}  # fmt: skip
"""Names the published taxonomies of COCO-Stuff, ADE20K and Cityscapes judge differently (docs/taxonomy.md)."""


def plain(name: str) -> str:
    """The first synonym without blanks, hyphens and COCO-Stuff's endings."""
    first = name.split(", ")[0].strip().removesuffix("-stuff").removesuffix("-other")
    return first.replace(" ", "").replace("-", "")


def by_name(vocabulary: str) -> dict[str, str]:
    known = load_vocabulary(vocabulary)
    return {plain(n): k for n, k in zip(known.names, known.kinds, strict=True)}


@pytest.mark.parametrize(
    ("vocabulary", "things", "stuff"),
    [
        ("coco_stuff171", 80, 91),
        ("ade150", 100, 50),
        ("voc20", 20, 0),
        ("pc59", 31, 28),
        ("voc20b_prompts", 31, 28),
        ("pc459", 367, 92),
        ("ade847", 634, 213),
    ],
)
def test_every_vocabulary_has_its_counts_of_things_and_stuff(vocabulary: str, things: int, stuff: int) -> None:
    kinds = load_vocabulary(vocabulary).kinds
    assert (kinds.count("thing"), kinds.count("stuff")) == (things, stuff)
    assert len(kinds) == things + stuff == len(load_vocabulary(vocabulary))
    assert load_vocabulary(vocabulary).things == tuple(k == "thing" for k in kinds)


def test_every_vocabulary_has_kinds() -> None:
    for name in vocabulary_names():
        assert set(load_vocabulary(name).kinds) <= {"thing", "stuff"}


def test_things_of_coco_stuff_are_the_first_eighty() -> None:
    assert load_vocabulary("coco_stuff171").kinds == ("thing",) * 80 + ("stuff",) * 91


def test_stuff_of_ade150_is_that_of_the_panoptic_task() -> None:
    published = [
        *range(7), 9, 11, 13, 16, 17, 21, 25, 26, 28, 29, 34, 40, 46, 48, 51, 52, 54, 59, 60, 61, 63, 68, 77, 79, 84,
        91, 94, 96, 99, 100, 101, 105, 106, 109, 113, 114, 117, 122, 128, 131, 140, 141, 145,
    ]  # fmt: skip
    things = load_vocabulary("ade150").things
    assert [i for i, thing in enumerate(things) if not thing] == published


def test_larger_vocabularies_take_over_published_kinds_in_the_documented_order() -> None:
    ade, coco, context = by_name("ade150"), by_name("coco_stuff171"), by_name("pc59")
    published = 0
    for vocabulary, order in (("ade847", (ade, coco, context)), ("pc459", (context, coco, ade))):
        known = load_vocabulary(vocabulary)
        for name, kind in zip(known.names, known.kinds, strict=True):
            key = {"screen, crt screen": "crtscreen", "table": "table" if vocabulary == "ade847" else "diningtable"}
            word = key.get(name, plain(name))
            source = next((taxonomy for taxonomy in order if word in taxonomy), None)
            if source is not None:
                published += 1
                assert source[word] == kind, (vocabulary, name)
    assert published > 300


def test_a_name_has_one_kind_everywhere_but_where_the_published_taxonomies_disagree() -> None:
    kinds: dict[str, set[str]] = {}
    for vocabulary in vocabulary_names():
        known = load_vocabulary(vocabulary)
        for name, kind in zip(known.names, known.kinds, strict=True):
            kinds.setdefault(plain(name), set()).add(kind)
    assert {name for name, found in kinds.items() if len(found) > 1} == DISAGREEING


def test_prompts_of_pas20b_have_the_kinds_of_pascal_context() -> None:
    assert by_name("voc20b_prompts") == by_name("pc59")
    assert all(load_vocabulary("voc20b_prompts").things[:20])


def test_evaluated_background_is_stuff() -> None:
    folded = get_benchmark("PAS-20b")
    assert folded.class_kinds() == ("thing",) * 20 + ("stuff",)
    assert len(folded.class_kinds()) == folded.num_classes
    assert get_benchmark("A-847").class_kinds() == load_vocabulary("ade847").kinds


def test_correcting_a_kind_changes_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = get_benchmark("A-150")
    known = load_vocabulary("ade150")
    turned = dataclasses.replace(known, rows=tuple({**row, "kind": "thing"} for row in known.rows))
    before = protocol_digest(benchmark, Protocol())
    assert turned.kinds != known.kinds
    assert turned.digest() == known.digest()

    def corrected(_name: str) -> Vocabulary:
        return turned

    monkeypatch.setattr("repro.datasets.data_set.load_vocabulary", corrected)
    assert protocol_digest(benchmark, Protocol()) == before


def test_an_unknown_kind_is_refused() -> None:
    voc = load_vocabulary("voc20")
    with pytest.raises(AssertionError, match="kind"):
        _ = dataclasses.replace(voc, rows=({**voc.rows[0], "kind": "object"}, *voc.rows[1:])).kinds
