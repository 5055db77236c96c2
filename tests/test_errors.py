"""Errors say what was expected, what was found and what mends it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from repro.errors import (
    DataError,
    ReproError,
    ResourceError,
    RunError,
    UsageError,
    WeightsError,
    command,
    unknown_name,
)


def test_message_expected_found_and_mend_are_all_printed():
    text = str(DataError("bad label", expected="0..149", found=200, mend="repro data verify"))
    assert text.splitlines() == [
        "bad label",
        "  expected: 0..149",
        "  found:    200",
        "  fix:      repro data verify",
    ]


def test_exit_codes_are_stable():
    codes = {e: e.exit_code for e in (ReproError, UsageError, DataError, WeightsError, ResourceError, RunError)}
    assert list(codes.values()) == [2, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("typed", "meant"), [("catsegg", "catseg"), ("CATSEG", "catseg"), ("clpi", "clip")])
def test_an_unknown_name_suggests_the_nearest(typed: str, meant: str):
    assert f"did you mean {meant}" in str(unknown_name("method", typed, ["catseg", "clip"]))


def test_a_name_like_no_other_gets_no_suggestion_but_the_list():
    error = unknown_name("method", "zzzzzz", ["catseg", "clip"])
    assert "did you mean" not in str(error)
    assert error.expected == "one of catseg, clip"


@pytest.mark.parametrize(
    "name", ["plain", "my sets", "it's", "$(touch x)", "a\nb", "-rf", "semi;colon", "back\\slash", "ünï", "*"]
)
def test_a_command_can_be_pasted_whatever_a_path_holds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    line = command(sys.executable, "-c", "import sys; print(repr(sys.argv[1:]))", "--root", Path(name))
    said = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    words = ast.literal_eval(said)
    assert words[0] == "--root"
    assert (tmp_path / words[1]).resolve() == (tmp_path / name).resolve()
    assert not words[1].startswith("-")
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_what_the_user_must_name_stays_readable() -> None:
    assert command("repro", "train", "METHOD", "--data-root", "DIR") == "repro train METHOD --data-root DIR"
