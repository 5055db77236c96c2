"""The run store keeps processes apart and knows when the disk is too full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from repro.errors import ResourceError, RunError
from repro.runs.store import RunStore


def test_a_run_that_is_in_use_is_refused_to_another_process(tmp_path: Path):
    code = (
        "from pathlib import Path; from repro.runs.store import RunStore\n"
        f"with RunStore(Path({str(tmp_path)!r})).lock('run-1'): pass"
    )
    with RunStore(tmp_path).lock("run-1"):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "RunError" in result.stderr
    assert "in use by another process" in result.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_an_error_inside_the_lock_is_not_taken_for_a_busy_run(tmp_path: Path):
    with pytest.raises(KeyError), RunStore(tmp_path).lock("run-1"):
        raise KeyError("inside")
    with RunStore(tmp_path).lock("run-1"):
        pass


def test_too_little_disk_space_is_said_before_the_work_starts(tmp_path: Path):
    with pytest.raises(ResourceError, match="not enough disk space") as caught:
        RunStore(tmp_path / "not" / "there" / "yet").check_space(1e12)
    assert "MiB free" in str(caught.value)
    RunStore(tmp_path).check_space(0.001)


def test_a_corrupt_result_is_named_not_trusted(tmp_path: Path):
    store = RunStore(tmp_path)
    folder = store.claim(store.evaluation("r", "A-150", "k"), "k", {})
    (folder / "metrics.json").write_text("{")
    with pytest.raises((ResourceError, RunError), match=r"metrics\.json"):
        store.result(folder)
