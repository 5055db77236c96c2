"""Files are whole or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from repro import files
from repro.errors import ResourceError


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path):
    path = tmp_path / "value.json"
    files.write_json(path, {"a": 1})

    def half(stream: IO[bytes]) -> None:
        stream.write(b"{")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(path, half)
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["value.json"]


def test_a_full_disk_is_one_clear_error_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "value.json"
    files.write_json(path, [1])

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="disk is full") as caught:
        files.write_json(path, [2])
    assert caught.value.mend
    monkeypatch.undo()
    assert files.read_json(path) == [1]


def test_a_folder_that_cannot_be_written_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def denied(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(ResourceError, match="cannot write") as caught:
        files.write_text(tmp_path / "sub" / "x.txt", "x")
    assert "--runs" in str(caught.value)


def test_other_os_errors_are_not_disguised(tmp_path: Path):
    def broken(_stream: IO[bytes]) -> None:
        raise OSError(errno.EIO, "input/output error")

    with pytest.raises(OSError, match="input/output") as caught:
        files.write_atomic(tmp_path / "x", broken)
    assert not isinstance(caught.value, ResourceError)


def test_json_that_is_not_json_names_the_file_and_the_mend(tmp_path: Path):
    path = tmp_path / "metrics.json"
    path.write_text("{truncated")
    with pytest.raises(ResourceError, match=r"metrics\.json") as caught:
        files.read_json(path)
    assert caught.value.mend == f"move {path} away, or name another folder, and give the same command again"


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "ü" * 125 + ".json", "short"])
def test_a_file_whose_own_name_fits_is_written(name: str, tmp_path: Path) -> None:
    files.write_json(tmp_path / name, 1)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_two_long_names_have_two_temporary_names(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def look(_stream: IO[bytes]) -> None:
        seen.append({p.name for p in tmp_path.iterdir()})
        raise KeyboardInterrupt

    for end in "ab":
        with pytest.raises(KeyboardInterrupt):
            files.write_atomic(tmp_path / ("n" * 249 + end), look)
    assert len(seen[0] | seen[1]) == 2
    assert all(n.startswith(".") and n.endswith(".partial") for names in seen for n in names)
