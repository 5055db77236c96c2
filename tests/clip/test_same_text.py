"""Classes that are one to the model are told by the tokens it reads, whatever they look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.clip.same_text import cut_note, read_classes, refuse_same, same_note
from repro.clip.spec import TowerSpec
from repro.clip.tower import build_tower
from repro.datasets.benchmarks import BENCHMARKS, TRAIN_SETS
from repro.errors import UsageError
from repro.methods import get_method
from repro.methods.interface import Method

SAME = ("don't", "don\N{RIGHT SINGLE QUOTATION MARK}t", "cat", "\uff43\uff41\uff54", "a & b", "a &amp; b", "dog")
"""Three pairs of which a tokenizer reads the same, and one name more."""


def method_of(name: str, **options: object) -> Method:
    entry = get_method(name)
    small = {"hidden": 16, "window": 3, "decoder_dims": [16], "decoder_guidance": [16], "decoder_guidance_proj": [8],
             "layers": 1, "appearance_guidance": 16, "text_guidance": 16}  # fmt: skip
    given = {k: v for k, v in small.items() if k in entry.options.__dataclass_fields__} if name != "clip" else {}
    return entry.create(build_tower(TowerSpec("tiny", None, resolution=48)), entry.make_options({**given, **options}))


@pytest.fixture(scope="module")
def clip() -> Method:
    return method_of("clip")


def test_names_that_become_the_same_tokens_are_refused_with_what_is_read(clip: Method) -> None:
    reading = read_classes(clip, SAME)
    assert reading.same == ((0, 1), (2, 3), (4, 5))
    with pytest.raises(UsageError, match="cannot tell apart") as caught:
        refuse_same(reading, SAME)
    assert "'cat' (index 2) and" in str(caught.value.found)
    assert "both prompted as 'A photo of a cat in the scene'" in str(caught.value.found)
    refuse_same(read_classes(clip, SAME[::2]), SAME[::2])


def test_names_that_agree_as_far_as_the_model_reads_are_the_same_and_said_to_be_cut(clip: Method) -> None:
    names = [f"{'very ' * 80}{last}" for last in ("small", "large")] + ["dog"]
    reading = read_classes(clip, names)
    assert reading.same == ((0, 1),)
    assert reading.cut == (0, 1)
    assert "very very" in cut_note(reading, names)
    assert cut_note(read_classes(clip, ["dog"]), ["dog"]) == ""


def test_a_name_of_which_only_the_first_synonym_is_prompted_is_that_synonym() -> None:
    names = ["sofa, couch", "sofa, settee", "dog"]
    assert read_classes(method_of("catseg"), names).same == ((0, 1),)
    assert read_classes(method_of("catseg", synonyms="mean"), names).same == ()


def test_of_the_benchmarks_only_a_847_has_such_names_and_the_protocol_says_so(clip: Method) -> None:
    found = {}
    for benchmark in (*BENCHMARKS.values(), *TRAIN_SETS.values()):
        names = benchmark.prompt_names()
        if reading := read_classes(clip, names).same:
            found[benchmark.id] = sorted(names[group[0]] for group in reading)
            assert same_note(read_classes(clip, names), names).startswith(f"{len(reading)} prompts stand for several")
    assert list(found) == ["A-847"]
    protocol = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    assert all(f"`{name}`" in protocol for name in found["A-847"])
    assert len(found["A-847"]) == 9


def test_a_method_without_a_tower_has_no_tokens_to_compare() -> None:
    from fake_method import make_method

    assert read_classes(make_method(), ["cat", "cat"]).same == ()
