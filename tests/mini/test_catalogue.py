"""Every name the miniature claims is a name of the real vocabularies, and synonyms agree across them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from repro.mini.catalogue import CONCEPTS, INDEX, concept_labels

VOCABULARIES = ("coco_stuff171", "ade150", "ade847", "pc59", "pc459", "voc20")


@pytest.fixture(scope="module")
def vocabularies() -> dict[str, list[str]]:
    from repro.datasets import vocabulary

    folder = Path(vocabulary.__file__).parent / "vocab"
    tables = {}
    for name in VOCABULARIES:
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            tables[name] = [row["name"] for row in csv.DictReader(stream)]
    return tables


def test_every_claimed_name_is_in_some_vocabulary(vocabularies: dict[str, list[str]]) -> None:
    known = {entry.split(", ")[0].strip() for names in vocabularies.values() for entry in names}
    claimed = {name for c in CONCEPTS for name in (c.name, *c.synonyms, *c.broader)}
    assert claimed <= known


def test_every_label_is_called_by_a_name_of_its_concept(vocabularies: dict[str, list[str]]) -> None:
    for names in vocabularies.values():
        for concept, label in zip(CONCEPTS, concept_labels(names, -1), strict=True):
            if label >= 0:
                assert names[label].split(", ")[0].strip() in (concept.name, *concept.synonyms, *concept.broader)


def test_the_catalogue_covers_all_of_voc_and_much_of_the_rest(vocabularies: dict[str, list[str]]) -> None:
    covered = {name: len(set(concept_labels(names, -1)) - {-1}) for name, names in vocabularies.items()}
    assert covered["voc20"] == 20
    assert covered["pc59"] >= 45
    assert covered["ade150"] >= 80
    assert covered["coco_stuff171"] >= 85
    assert covered["ade847"] >= 110
    assert covered["pc459"] >= 100


def test_many_concepts_are_not_in_the_training_vocabulary(vocabularies: dict[str, list[str]]) -> None:
    absent = [c for c, k in zip(CONCEPTS, concept_labels(vocabularies["coco_stuff171"], -1), strict=True) if k < 0]
    assert len(absent) >= 40
    assert {"thing", "stuff"} == {c.kind for c in absent}


@pytest.mark.parametrize(
    ("concept", "expected"),
    [
        ("airplane", {"coco_stuff171": "airplane", "voc20": "aeroplane", "ade847": "airplane, aeroplane, plane"}),
        ("couch", {"coco_stuff171": "couch", "ade150": "sofa", "pc59": "sofa"}),
        ("tv", {"coco_stuff171": "tv", "ade150": "television receiver", "voc20": "tvmonitor"}),
        ("motorcycle", {"coco_stuff171": "motorcycle", "ade150": "minibike", "voc20": "motorbike"}),
        ("potted plant", {"coco_stuff171": "potted plant", "voc20": "pottedplant", "ade150": "plant"}),
        ("dining table", {"coco_stuff171": "dining table", "pc59": "diningtable", "ade150": "table"}),
        ("bed", {"ade150": "bed "}),
        ("wall-brick", {"coco_stuff171": "wall-brick", "ade150": "wall", "voc20": None}),
        ("giraffe", {"ade150": "animal", "coco_stuff171": "giraffe", "voc20": None}),
        ("fireplace", {"coco_stuff171": None, "ade150": "fireplace"}),
    ],
)
def test_synonyms_agree_across_vocabularies(
    vocabularies: dict[str, list[str]], concept: str, expected: dict[str, str | None]
) -> None:
    for vocabulary, name in expected.items():
        label = CONCEPTS[INDEX[concept]].label_in(vocabularies[vocabulary])
        assert (None if label is None else vocabularies[vocabulary][label]) == name


def test_finer_name_wins_over_broader_one() -> None:
    bush = CONCEPTS[INDEX["bush"]]
    assert bush.label_in(["plant", "bush"]) == 1
    assert bush.label_in(["sky", "plant"]) == 1
    assert bush.label_in(["sky"]) is None


def test_catalogue_imports_nothing_heavy() -> None:
    code = "import sys, repro.mini.catalogue; print(sorted({'numpy', 'torch', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
