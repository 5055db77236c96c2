"""One process at a time in a folder, whatever becomes of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from repro.errors import RunError
from repro.locks import FILE, folder_lock, holder, in_use


def child(work: Callable[[], None]) -> int:
    """The process id of a fork that does ``work`` and ends."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    finally:
        os._exit(0)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def hold(folder: Path) -> None:
    with folder_lock(folder):
        signal.pause()


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_the_second_process_is_told_who_is_inside(tmp_path: Path):
    pid = child(lambda: hold(tmp_path))
    until(lambda: f"process {pid} on " in holder(tmp_path / FILE))
    with pytest.raises(RunError, match="in use by another process") as caught, folder_lock(tmp_path):
        pass
    assert f"process {pid} on " in str(caught.value)
    assert in_use(tmp_path)
    end(pid)


def test_a_killed_process_leaves_the_folder_free(tmp_path: Path):
    pid = child(lambda: hold(tmp_path))
    until(lambda: in_use(tmp_path))
    end(pid)
    assert not in_use(tmp_path)
    with folder_lock(tmp_path):
        assert f"process {os.getpid()} on " in holder(tmp_path / FILE)


def test_a_worker_that_outlives_its_killed_parent_holds_nothing(tmp_path: Path):
    def parent() -> None:
        with folder_lock(tmp_path):
            worker = child(lambda: time.sleep(60))
            (tmp_path / "worker").write_text(str(worker))
            signal.pause()

    pid = child(parent)
    until(lambda: (tmp_path / "worker").exists() and (tmp_path / "worker").read_text() != "")
    assert in_use(tmp_path)
    end(pid)
    until(lambda: not in_use(tmp_path))  # the worker still sleeps
    os.kill(int((tmp_path / "worker").read_text()), signal.SIGKILL)


def test_who_waits_gets_in_when_the_other_leaves_and_says_for_whom_it_waited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pid = child(lambda: hold(tmp_path))
    until(lambda: f"process {pid} on " in holder(tmp_path / FILE))
    threading.Timer(0.3, lambda: end(pid)).start()
    with folder_lock(tmp_path, wait=True):
        pass
    assert f"waiting for {tmp_path}, which is made by process {pid} on " in capsys.readouterr().err
