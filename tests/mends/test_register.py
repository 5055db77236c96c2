"""Every way out of an error that the project prints is followed by a test, or listed here with the reason why not.

A test says which places it follows with ``@pytest.mark.follows("module:function")``, or in a table of cases with
``way("module:function", ..)``. Such a test fails where it does not reach those lines (``tests/conftest.py``).
"""

from __future__ import annotations

from functools import cache

import pytest
from mend_places import ROOT, all_places, followed, not_reached, places_of, reached

from repro.errors import DataError

EXCEPTIONS: dict[str, str] = {
    "repro.datasets.prepare.prepare:_Work._task": "only handed to the work on one label, whose errors are followed",
    "repro.launch.processes:group": "needs fewer GPUs than processes, and at least one",
    "repro.launch.processes:check_same": "needs several processes that see different folders",
    "repro.methods.speedups:_Graph.__init__": "needs a GPU: on a CPU there is no graph to capture",
    "repro.launch.slurm:_submit": "needs a scheduler that refuses a job; which partitions it has is its own",
    "repro.launch.torchrun:run": "needs machines that do not reach each other; the host to name is the user's",
}
"""Place -> why no test follows it."""


@cache
def followed_places() -> frozenset[str]:
    return frozenset({name for file in sorted((ROOT / "tests").rglob("*.py")) for name in followed(file.read_text())})


def unfollowed(places: set[str], named: frozenset[str]) -> list[str]:
    return sorted(places - named - EXCEPTIONS.keys())


def test_every_place_that_gives_a_mend_is_followed_by_a_test() -> None:
    assert unfollowed(set(all_places()), followed_places()) == []


def test_no_test_and_no_exception_names_a_place_that_is_gone() -> None:
    assert sorted((followed_places() | EXCEPTIONS.keys()) - set(all_places())) == []


def test_no_exception_is_followed_and_each_has_a_reason() -> None:
    assert sorted(EXCEPTIONS.keys() & followed_places()) == []
    assert all(len(reason.split()) > 2 for reason in EXCEPTIONS.values())


MADE_UP = """
from repro.errors import DataError, command, unknown_name

class Note:
    what: str
    mend: str

def check(path, mend):
    raise DataError("wrong", mend=mend)

def read(path):
    check(path, "fetch it again")
    notes = [Note("absent", f"make {path}"), Note(what="absent", mend="make it")]
    if notes:
        raise unknown_name("set", path, [])

class Reader:
    def open(self, path, mend):
        error = DataError("closed")
        error.mend = command("repro", "list")
        check(path, mend)
        raise error
"""


def test_the_register_finds_every_way_a_mend_is_given() -> None:
    found = {p.name: p.first for p in places_of(MADE_UP, "repro/made_up.py")}
    assert found == {
        "repro.made_up:check": 9,
        "repro.made_up:read#1": 12,
        "repro.made_up:read#2": 13,
        "repro.made_up:read#3": 13,
        "repro.made_up:read#4": 15,
        "repro.made_up:Reader.open": 20,
    }


def test_a_mend_that_no_test_follows_is_noticed() -> None:
    places = {p.name for p in places_of(MADE_UP, "repro/made_up.py")}
    tests = (
        '@pytest.mark.follows("repro.made_up:check", "repro.made_up:read#1")\ndef test(): way("repro.made_up:read#2")'
    )
    assert unfollowed(places, frozenset(followed(tests))) == [
        "repro.made_up:Reader.open",
        "repro.made_up:read#3",
        "repro.made_up:read#4",
    ]


def test_a_test_that_does_not_reach_its_place_is_noticed() -> None:
    from repro.methods import get_method

    with reached() as lines:
        DataError("no place of the project", mend="repro list")
    assert not_reached(["repro.methods:get_method"], lines) == ["repro.methods:get_method"]
    with reached() as lines, pytest.raises(Exception, match="unknown method"):
        get_method("nothing")
    assert not_reached(["repro.methods:get_method"], lines) == []
