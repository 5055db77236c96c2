"""A piece of work that a launcher starts, which is a ``repro`` command, and what is known when it has ended."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable, Mapping
from typing import Any

MARK = "repro: error: "
"""How the command line begins its error message."""
_SHOWN_LINES = 8


@dataclasses.dataclass(frozen=True)
class Launch:
    """How commands are started. ``gpus`` are device numbers for ``local``, else a number of processes per node."""

    launcher: str
    gpus: tuple[int, ...] = ()
    processes: int = 1
    max_parallel: int = 0
    """Jobs at a time; 0: one per device for ``local``, all for ``slurm``."""
    nodes: int = 1
    rendezvous: str = ""
    """``host:port`` of the first machine, for torchrun on several."""
    partition: str = ""
    minutes: int = 24 * 60
    cpu_only: bool = False
    """The command computes on CPUs: no GPU is asked for."""
    slurm: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """More options of sbatch, by their long names."""
    cluster: str = "slurm"
    """submitit's executor; ``local`` starts processes here instead, for tests."""


@dataclasses.dataclass(frozen=True)
class Job:
    """``name`` (a run's id) for people and files; ``words`` of the command line after ``repro``."""

    name: str
    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a job ended: the command's exit code, what it printed, and for a failure the reason in words."""

    code: int
    out: str = ""
    reason: str = ""

    def document(self) -> Any:
        """Return the JSON document the job printed; None where it printed none."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None


OnStart = Callable[[Job, str], None]
"""Called with a job and where it runs."""
OnEnd = Callable[[Job, Outcome], None]


def outcome(code: int, out: str, err: str) -> Outcome:
    """Return the outcome of a process with exit ``code`` (negative: a signal), what it printed and wrote to stderr."""
    return Outcome(code, out, "" if code == 0 else describe_failure(code, err))


def describe_failure(code: int, err: str) -> str:
    """Say why a command ended with ``code``: its own error message, else the signal or the last lines of ``err``."""
    if MARK in err:
        message = err.rpartition(MARK)[2].splitlines()
        # The lines that belong to the message are indented (repro.errors.ReproError).
        rest = [line for line in message[1:] if line.startswith("  ")]
        return "\n".join([message[0], *rest])
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; out of memory?" if name == "SIGKILL" else ""
        return f"ended by {name}{hint}"
    last = [line for line in err.splitlines() if line.strip()][-_SHOWN_LINES:]
    return "\n".join([f"ended with exit code {code}", *(f"  {line}" for line in last)])
