"""Several processes on one machine, connected by gloo, for tests of what is divided over processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from repro.errors import ReproError
from repro.launch import processes

SUPPORT = Path(__file__).parent


def in_processes(world: int, script: str, *arguments: str, timeout: float = 1200) -> list[subprocess.CompletedProcess]:
    """Run Python ``script`` in ``world`` processes that are told of each other as by torchrun; what became of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", script, *arguments]
    group = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            command,
            env={
                **os.environ,
                **group,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(SUPPORT),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    ended = []
    try:
        for process in started:
            out, err = process.communicate(timeout=timeout)
            ended.append(subprocess.CompletedProcess(command, process.returncode, out, err))
    finally:
        for process in started:
            process.kill()
    return ended


def in_threads(monkeypatch: pytest.MonkeyPatch, world: int, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` returns, or the error it raises, in each of ``world`` threads that take themselves for processes.

    As good as processes for what only agrees and has one write for all, and a hundred times as fast to start.
    """
    here, barrier, slots = threading.local(), threading.Barrier(world), [None] * world

    def shared(own: Any) -> list[Any]:
        slots[here.rank] = own
        barrier.wait(60)
        everyone = list(slots)
        barrier.wait(60)
        return everyone

    def agree(error: ReproError | None) -> None:
        for found in shared(error):
            if found is not None:
                raise found

    def on_first(job: Callable[[], Any]) -> Any:
        outcome = None
        if here.rank == 0:
            try:
                outcome = job()
            except ReproError as error:
                outcome = error
        first = shared(outcome)[0]
        if isinstance(first, ReproError):
            raise first
        return first

    def thread(rank: int) -> Any:
        here.rank = rank
        try:
            return work()
        except (ReproError, KeyboardInterrupt) as error:
            return error

    for name, value in (
        ("rank", lambda: here.rank),
        ("world", lambda: world),
        ("agree", agree),
        ("on_first", on_first),
    ):
        monkeypatch.setattr(processes, name, value)
    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(thread, range(world)))
