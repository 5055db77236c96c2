"""Locks that keep two processes out of one folder, and die with the process that holds them.

A lock is an advisory ``flock`` on the file ``.lock`` in the folder: the kernel drops it when its holder ends, however
it ends, so that a killed process leaves nothing to clean up. The file says who holds it. On network file systems this
needs one that passes ``flock`` to its server (NFS 3 with a lock manager, NFS 4, Lustre mounted with ``flock``).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from repro.errors import RunError
from repro.files import storage_errors

FILE = ".lock"
_POLL_S = 0.2
_held: set[int] = set()


@contextlib.contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold ``folder`` (made where it is absent) for the block.

    While another process holds it: with ``wait`` this one waits, after a line on stderr that says for whom; without,
    RunError that names the holder. Raises ResourceError where the folder cannot be written.
    """
    path = folder / FILE
    with storage_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(descriptor, path, wait)
        _held.add(descriptor)
        try:
            with storage_errors(path):
                _sign(descriptor)
            yield
        finally:
            _held.discard(descriptor)
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(path: Path) -> str:
    """Say who wrote the lock file ``path`` last, in words."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return f"process {record['pid']} on {record['host']}, since {record['since']}: {record['command']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def in_use(folder: Path) -> bool:
    """Tell whether some process holds the lock of ``folder`` now."""
    try:
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(descriptor)
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, wait: bool) -> None:
    told = False
    while not _try(descriptor):
        if not wait:
            raise RunError(
                f"{path.parent} is in use by another process",
                expected="one process per run",
                found=holder(path),
                mend="wait for the other process to end, or stop it, and run the same command again",
            )
        if not told:
            print(f"waiting for {path.parent}, which is made by {holder(path)}", file=sys.stderr, flush=True)
            told = True
        time.sleep(_POLL_S)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int) -> None:
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    record = {
        "pid": os.getpid(),
        "host": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join(words)[:500],
    }
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(record).encode(), 0)


def _forget() -> None:
    """Forget the locks in a forked child: without this a data worker that outlives its training would hold the lock."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget)
