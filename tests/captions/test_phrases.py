"""The two filters of repro.captions, on hand-made chunks and, where spaCy is installed, on its own."""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from pathlib import Path

import pytest

import repro.datasets
from repro.captions import phrases
from repro.captions.phrases import EXCLUSIONS, Exclusions, clean, holds_noun, labels_of, normalise
from repro.errors import ResourceError, UsageError
from repro.mends import install

VOCABULARIES = Path(repro.datasets.__file__).with_name("vocab")
needs_spacy = pytest.mark.skipif(
    not any(importlib.util.find_spec(m) for m in phrases.MODELS),
    reason="needs the extra captions: pip install 'repro-ovseg[captions]' -c constraints.txt",
)


class Token:
    def __init__(self, text, pos):
        self.text, self.pos_ = text, pos


class Chunk(list):
    """What the filters read of a spaCy span, from ``the/DET dog/NOUN``."""

    @classmethod
    def of(cls, text):
        return cls(Token(*word.rsplit("/", 1)) for word in text.split())

    def __getitem__(self, key):
        found = super().__getitem__(key)
        return Chunk(found) if isinstance(key, slice) else found

    @property
    def text(self):
        return " ".join(t.text for t in self)


@pytest.mark.parametrize(
    ("chunk", "kept"),
    [
        ("the/DET black/ADJ dog/NOUN", True),
        ("New/PROPN York/PROPN skyline/NOUN", True),
        ("New/PROPN York/PROPN", False),
        ("she/PRON", False),
        ("the/DET red/ADJ", False),
        ("3/NUM", False),
    ],
)
def test_the_first_filter_keeps_chunks_with_a_noun(chunk, kept):
    assert holds_noun(Chunk.of(chunk)) is kept


@pytest.mark.parametrize(
    ("chunk", "phrase"),
    [
        ("The/DET Black/ADJ Dog/NOUN", "black dog"),
        ("all/DET the/DET people/NOUN", "people"),
        ("his/PRON dog/NOUN", "dog"),
        ("3/NUM red/ADJ apples/NOUN", "red apples"),
        ("some/DET shops/NOUN ’/PART", "shops"),
        ("#/SYM sunset/NOUN", "sunset"),
        ("(/PUNCT", ""),
        ("ÉTÉ/NOUN", "été"),
    ],
)
def test_phrases_lose_case_articles_counts_and_signs_around_them(chunk, phrase):
    assert normalise(Chunk.of(chunk)) == phrase


def test_the_second_filter_matches_words_anywhere_and_marked_ones_as_a_whole():
    generic = Exclusions(["image", "=top", "Close  Up"])
    assert "stock images" in generic
    assert "close up" in generic
    assert "top" in generic
    assert "laptop" not in generic
    assert "table top" not in generic
    assert "dog" not in Exclusions([])


def test_both_filters_are_counted_and_a_label_comes_once():
    chunks = map(Chunk.of, ["a/DET dog/NOUN", "Paris/PROPN", "stock/NOUN photo/NOUN", "the/DET dog/NOUN", "cats/NOUN"])
    counts = Counter()
    assert labels_of(chunks, Exclusions(["photo"]), counts) == ["dog", "cats"]
    assert counts == {"chunks": 5, "without_noun": 1, "generic": 1}


def test_a_list_has_comments_and_terms_that_look_like_signs(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# a comment\n#\nphoto\n\n=\n=Side\n")
    generic = Exclusions.read(path)
    assert (generic.parts, generic.whole) == (("#", "photo"), {"side"})


def test_an_unreadable_list_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="exclusion list"):
        Exclusions.read(tmp_path / "absent.txt")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(UsageError, match="UTF-8"):
        Exclusions.read(tmp_path / "latin")


@pytest.mark.parametrize("name", ["coco_stuff171", "voc20", "pc59"])
def test_the_projects_list_leaves_the_classes_of_benchmarks_alone(name):
    with (VOCABULARIES / f"{name}.csv").open(encoding="utf-8") as stream:
        classes = [row["name"] for row in csv.DictReader(stream)]
    generic = Exclusions.read(EXCLUSIONS)
    assert len(classes) >= 20
    assert [c for c in classes if c.lower() in generic] == []


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ("  A\tdog\r\n and\u2028a cat\x00 ", "A dog and a cat"),
        ("<PERSON> and <person>", "person and person"),
        ("cafe\u0301", "caf\u00e9"),
        ("broken \ud800 half", "broken ? half"),
        (" \n ", ""),
    ],
)
def test_captions_are_cleaned_before_they_are_parsed(raw, parsed):
    assert clean(raw) == parsed


@needs_spacy
def test_spacy_and_the_filters_find_what_a_reader_would():
    pytest.importorskip("spacy")
    captions = {
        "A black cat sleeping on a wooden chair next to a sunny window": ["black cat", "wooden chair", "sunny window"],
        "person and his dog walking along the beach": ["person", "dog", "beach"],
        "Vector illustration of a red apple isolated on white background": ["red apple"],
        "A laptop, a cup of coffee and a notebook on the desk": ["laptop", "cup", "coffee", "notebook", "desk"],
        "A man riding a wave on top of a surfboard.": ["man", "wave", "surfboard"],
        "The Eiffel Tower in Paris": [],
        "It is what it is": [],
        "♥ ♥ ♥": [],
    }
    counts = Counter()
    assert phrases.extract(list(captions), Exclusions.read(EXCLUSIONS), counts) == list(captions.values())
    assert counts["generic"] >= 3
    assert counts["without_noun"] >= 3


@needs_spacy
def test_labels_do_not_depend_on_the_captions_parsed_before():
    pytest.importorskip("spacy")
    sample = [line.split("\t")[1] for line in Path(__file__).with_name("captions_sample.tsv").open(encoding="utf-8")]
    generic, counts = Exclusions.read(EXCLUSIONS), Counter()
    part = sample[20:60]
    assert phrases.extract(part, generic, counts) == phrases.extract(sample, generic, counts)[20:60]


@pytest.mark.parametrize(("absent", "named"), [(("spacy",), "spaCy"), (phrases.MODELS, "English model")])
def test_without_spacy_or_its_model_the_error_gives_the_command_that_installs_it(monkeypatch, absent, named):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in absent else find("json"))
    with pytest.raises(ResourceError, match=named) as error:
        phrases.parser_versions()
    assert error.value.mend == install("captions")
