"""Jobs side by side on this machine, one process per device, none of which outlives this one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from repro.files import storage_errors
from repro.hardware import cpu_count
from repro.launch.job import Job, Launch, OnEnd, OnStart, Outcome, outcome

_POLL_S = 0.2
GRACE_S = 60.0
"""How long a job may take to end by itself (to write its checkpoint) before it is killed."""

Slot = tuple[str, Mapping[str, str]]
"""A place for one job: its name and what the environment says there."""


def slots(launch: Launch) -> Sequence[Slot]:
    """Return a place for each GPU named, or ``max_parallel`` places on the CPU, which share its cores."""
    if launch.gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        ids = visible.split(",") if visible else []
        names = [ids[gpu] if gpu < len(ids) else str(gpu) for gpu in launch.gpus]
        places = [(f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": name}) for gpu, name in zip(launch.gpus, names, strict=True)]
        return places[: launch.max_parallel or None]
    count = max(1, launch.max_parallel)
    threads = (
        {} if count == 1 or "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, cpu_count() // count))}
    )
    return [(f"place {number}", threads) for number in range(1, count + 1)]


def run(jobs: Sequence[Job], places: Sequence[Slot], folder: Path, on_start: OnStart, on_end: OnEnd) -> None:
    """Run all ``jobs``, as many at a time as there are ``places``; what they print goes to files in ``folder``.

    Interrupted (Ctrl-C, a signal, an error), it ends the jobs it started before it passes the interruption on: first
    by SIGTERM, on which they write their checkpoints, then, after a minute or a second Ctrl-C, by SIGKILL.
    """
    waiting, free, running = deque(jobs), list(places), list[_Child]()
    try:
        while waiting or running:
            while waiting and free:
                job, place = waiting.popleft(), free.pop(0)
                running.append(_Child(job, place, folder))
                on_start(job, place[0])
            for child in [c for c in running if c.ended()]:
                running.remove(child)
                free.append(child.place)
                on_end(child.job, child.outcome())
            time.sleep(_POLL_S)
    finally:
        _stop(running)


class _Child:
    """One job as a process that leads a group of its own, so that all it starts can be ended with it."""

    def __init__(self, job: Job, place: Slot, folder: Path) -> None:
        self.job, self.place = job, place
        self.files = [folder / f"{job.name}.{kind}" for kind in ("out", "err")]
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with self.files[0].open("wb") as out, self.files[1].open("wb") as err:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "repro.launch.child", str(os.getpid()), *job.words],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **place[1]},
                    start_new_session=True,
                )

    def ended(self) -> bool:
        """Tell whether the job has ended; what it left running is then ended too, while its group is surely its own."""
        if self.process.returncode is None:
            if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
            self.signal(signal.SIGKILL)
            self.process.wait()
        return True

    def signal(self, number: int) -> None:
        """Send ``number`` to the job and all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def outcome(self) -> Outcome:
        out, err = (path.read_text(errors="replace") for path in self.files)
        return outcome(self.process.returncode, out, err)


def _stop(children: Sequence[_Child]) -> None:
    try:
        for child in children:
            child.signal(signal.SIGTERM)
        give_up = time.monotonic() + GRACE_S
        while time.monotonic() < give_up and not all(child.ended() for child in children):
            time.sleep(_POLL_S)
    finally:
        for child in children:
            if not child.ended():
                child.signal(signal.SIGKILL)
                child.process.wait()
