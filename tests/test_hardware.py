"""What the machine is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.hardware import free_memory_gib, memory_gib


def test_what_is_free_is_a_part_of_what_is_there() -> None:
    assert 0 < free_memory_gib() <= memory_gib()


def test_a_group_has_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"memory.max": str(3 * 2**30), "memory.current": str(2**30), "meminfo": "MemAvailable:   8388608 kB\n"}
    monkeypatch.setattr(Path, "read_text", lambda path: said[path.name])
    assert free_memory_gib() == 2.0
    said["memory.max"] = "max\n"
    assert free_memory_gib() == 8.0
