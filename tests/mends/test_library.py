"""What the functions of the library refuse, and where their ways out lead."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import repro
from tests.support.talk import Talk, ours


@pytest.mark.follows("repro.api.model:load")
def test_a_method_is_trained_by_the_command_that_a_load_names(talk: Talk, tmp_path: Path) -> None:
    words = {"profile": "smoke", "runs": tmp_path / "my runs", "device": "cpu", "options": {"depth": 1}}
    mend = talk.refused_by(lambda: repro.load("logoseg", **words))
    assert talk(*ours(mend)) == 0, talk.error
    assert repro.load("logoseg", **words).run.trained


@pytest.mark.follows("repro.api:_request")
def test_the_fields_of_a_request_are_where_an_unknown_word_says(talk: Talk) -> None:
    mend = talk.refused_by(lambda: repro.load("clip", profil="smoke"))
    module, _, name = mend.rpartition(" ")[2].rpartition(".")
    assert "profile" in getattr(importlib.import_module(module), name).__dataclass_fields__
