"""Worlds that the tests of both libraries share."""

from __future__ import annotations

from pathlib import Path

import pytest
from interop_world import World, make_world, square_ade
from talk import Talk


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    monkeypatch.chdir(tmp_path)
    return Talk(capsys)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("interop"))


@pytest.fixture(scope="session")
def ade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return square_ade(tmp_path_factory.mktemp("ade"))
