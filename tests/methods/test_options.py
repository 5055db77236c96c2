"""Options have names and types that their dataclass states; anything else is refused without a traceback."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import pytest
from talk import Talk

from repro.errors import UsageError
from repro.methods import get_method, registry
from repro.methods.alignments import get_alignment
from repro.methods.options import LossWeight, check_options
from repro.values import Count, Share, converted, described


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", "32.5x"),
        ("hidden", 32.5),
        ("hidden", True),
        ("hidden", None),
        ("mlp_ratio", "4x"),
        ("mlp_ratio", 0),
        ("window", 0),
        ("heads", "x"),
        ("layers", "abc"),
        ("pad_len", -1),
        ("pooling", (0, 1)),
        ("decoder_dims", ()),
        ("decoder_dims", (60, 33)),
        ("decoder_dims", (64,)),
        ("hidden", 130),
        ("mlp_ratio", float("inf")),
        ("pool_align_corners", 2),
        ("templates", "a {}"),
        ("templates", ("a {}", 3)),
        ("pooling", (2,)),
        ("guide_blocks", (1.5, 2)),
        ("synonyms", 3),
    ],
)
def test_a_value_of_another_type_or_out_of_bounds_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"option {name} of (method )?catseg") as caught:
        get_method("catseg").make_options({name: value})
    assert "describe catseg" in str(caught.value.mend)


def test_values_of_the_types_are_taken_and_lists_are_tuples() -> None:
    made = get_method("catseg").make_options({"hidden": 96, "mlp_ratio": 2, "pooling": [1, 1], "guide_blocks": None})
    assert (made.hidden, made.mlp_ratio, made.pooling, made.guide_blocks) == (96, 2, (1, 1), None)


def test_options_of_an_alignment_have_types_too() -> None:
    with pytest.raises(UsageError, match="option threshold of alignment densevlm"):
        get_alignment("densevlm").make_options({"threshold": "0.3x"})
    with pytest.raises(UsageError, match="preset"):
        get_alignment("densevlm").make_options({"preset": ["paper"]})


@pytest.mark.parametrize("name", list(registry()))
def test_the_defaults_of_every_method_are_of_their_types(name: str) -> None:
    import dataclasses

    entry = get_method(name)
    default = entry.make_options()
    given = {f.name: getattr(default, f.name) for f in dataclasses.fields(default)}
    assert entry.make_options(given) == default


def test_types_are_told_in_words() -> None:
    assert described(int | Literal["mean"] | None) == "a whole number or mean or None"
    assert described(Literal["a", "b"]) == "one of a, b"
    assert described(tuple[int, int]) == "a list of 2: a whole number, a whole number"
    assert described(tuple[str, ...]) == "a list, each a text"
    assert described(tuple[Count, ...]) == "a list, each a whole number from 1"
    assert described(Share | None) == "a number from 0 to 1 or None"
    assert described(LossWeight) == "a number from 0"


@pytest.mark.parametrize(
    ("hint", "value", "made"),
    [
        (int, "4", 4),
        (float, "0.5", 0.5),
        (float | None, 3, 3),  # as an address has it: not 3.0
        (tuple[int, ...], ["1", 2], (1, 2)),
        (bool, "off", False),
        (int, 3.0, 3),
        (float | Literal["learnable"], "learnable", "learnable"),
    ],
)
def test_values_become_what_their_option_takes(hint: Any, value: Any, made: Any) -> None:
    found = converted("option y of x", value, hint, "")
    assert (found, type(found)) == (made, type(made))


@pytest.mark.follows("repro.methods.options:option_values", "repro.methods:MethodEntry.make_options")
def test_an_unknown_option_leads_to_the_list_of_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _refused_and_described(Talk(capsys), tmp_path, monkeypatch, "hiden=32")


@pytest.mark.follows("repro.values:_unfit")
def test_an_option_of_another_type_leads_to_the_list_of_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _refused_and_described(Talk(capsys), tmp_path, monkeypatch, "hidden=32.5x")


def _refused_and_described(talk: Talk, folder: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.chdir(folder)
    talk.refused("train", "catseg", "--profile", "smoke", "--device", "cpu", "-o", option)
    assert option.partition("=")[0] in talk.message
    talk.follow()
    assert "hidden" in talk.out


@dataclasses.dataclass(frozen=True)
class Chosen:
    how: Literal["sum", "mean"] = "sum"
    layer: int | Literal["mean", "max"] = 0
    text: str = "any"


@pytest.mark.parametrize("right", [{}, {"how": "mean"}, {"layer": 7}, {"layer": "max"}, {"text": "other"}])
def test_words_of_an_option_are_taken(right: dict[str, Any]) -> None:
    check_options("x", Chosen(**right), {"layer": (True, "anything")})


@pytest.mark.parametrize(("wrong", "hint"), [({"how": "men"}, "mean"), ({"layer": "maxx"}, "max")])
def test_other_words_are_refused_with_the_nearest(wrong: dict[str, Any], hint: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {hint}"):
        check_options("x", Chosen(**wrong))


def test_a_check_that_does_not_hold_says_what_would() -> None:
    with pytest.raises(UsageError, match="option layer of x does not fit") as caught:
        check_options("x", Chosen(layer=9), {"how": (True, ""), "layer": (False, "less than 9")})
    assert (caught.value.expected, caught.value.found) == ("less than 9", 9)


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_method_refuses_words_that_are_none_of_its_options(name: str) -> None:
    """All literals of all methods: LoGoSeg and SynSeg took any word before they shared the check."""
    entry = get_method(name)
    for option, hint in get_type_hints(entry.options).items():
        if any(isinstance(word, str) for part in (hint, *get_args(hint)) for word in get_args(part)):
            with pytest.raises(UsageError, match=option):
                entry.make_options({option: "no such word"})
