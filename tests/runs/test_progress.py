"""Bars are for what takes long."""

from __future__ import annotations

import pytest

from repro.runs import progress
from repro.runs.progress import reading_progress


def test_reading_that_takes_no_second_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with reading_progress("A-150") as update:
        update(0, 9)
        update(9, 9)
    assert capsys.readouterr().err == ""


def test_reading_that_takes_long_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 1e-9)
    with reading_progress("A-150") as update:
        update(0, 900)
        update(512, 900)
        update(900, 900)
    assert "reading A-150 once" in capsys.readouterr().err
