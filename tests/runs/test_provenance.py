"""The command that provenance records names no folder of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.runs.provenance import command_line


def test_folders_of_the_machine_are_not_in_the_recorded_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["/opt/bin/repro", "check", "table1", "--runs", str(tmp_path / "runs"), "--against", "out/reference.json"]
    given += [
        f"--data-root={tmp_path.parent}/data",
        "--repeats",
        f"/a/again,{tmp_path}/one,two",
        "--reason",
        "3/4 of it",
    ]
    recorded = command_line([*given, "--profile", "/home/me/my.py"])
    assert recorded == (
        "repro check table1 --runs runs --against out/reference.json --data-root=DIR --repeats DIR,one,two "
        "--reason 3/4 of it --profile FILE"
    )
