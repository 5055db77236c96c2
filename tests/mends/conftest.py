"""Calls of the command line in a folder of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from talk import Talk

from repro.cli.main import main


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Talk:
    monkeypatch.chdir(tmp_path)
    return Talk(capsys)


WORDS = ("--profile", "smoke", "--device", "cpu")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which catseg of the smoke profile is trained, and evaluated on PAS-20."""
    store = tmp_path_factory.mktemp("trained") / "my runs"
    assert main(["eval", "catseg", *WORDS, "--benchmarks", "PAS-20", "--runs", str(store)]) == 0
    return store


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "my runs"))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the sources of all sets as the smoke profile draws them, nothing prepared."""
    root = tmp_path_factory.mktemp("drawn") / "data"
    assert main(["data", "synth", "--profile", "smoke", "--out", str(root), "--no-prepare"]) == 0
    return root


@pytest.fixture
def ready(trained: Path, tmp_path: Path) -> None:
    """The usual store of the working folder, with the data drawn."""
    shutil.copytree(trained / "cache" / "data", tmp_path / "runs" / "cache" / "data")
