"""Calls of the command line in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from talk import Talk


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    monkeypatch.chdir(tmp_path)
    return Talk(capsys)
