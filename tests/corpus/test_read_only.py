"""Folders that may not be written, and files that may not be read, are one clear error for every command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("read_only.py")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "place"
    place.mkdir()
    yield place
    for path in [place, *place.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)


@pytest.mark.slow
def test_every_command_names_the_folder_it_cannot_write(folder: Path) -> None:
    done = subprocess.run([sys.executable, str(PROGRAM), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    for name, (code, text) in result.items():
        assert code in (1, 3, 4, 5), f"{name}: {code}\n{text[-1000:]}"
        assert "Traceback" not in text, f"{name}\n{text[-1500:]}"
        assert "cannot write" in text or "ermission denied" in text, f"{name}\n{text[-1000:]}"
    assert len(result) == 9
