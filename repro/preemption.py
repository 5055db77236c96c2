"""Ending in time when a scheduler asks: SIGTERM and SIGUSR1 (Slurm: ``--signal=USR1@120``, preemption, time limit).

Outside a training the signal ends the command at once, as Ctrl-C does: what is finished is kept. In a training it is
noted, the running iteration ends, the checkpoint is written, and then the command ends. In both cases by
:class:`repro.errors.Preempted`, whose exit code (75) tells the scheduler to put the job back into its queue.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from repro.errors import Preempted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class _State:
    owner = 0
    asked = ""
    deferring = 0
    spared = False


def install() -> None:
    """Let this process (its main thread must call) answer :data:`SIGNALS`; forget any that came before."""
    _State.owner, _State.asked, _State.deferring, _State.spared = os.getpid(), "", 0, False
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _answer)


def requested() -> str:
    """Return the name of the signal that asked this process to end; empty where none did."""
    return _State.asked


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer signals: inside, they are only noted (:func:`requested`), and work ends by :func:`end` where it is safe.

    Where the block ends by itself after a signal, Preempted is raised behind it.
    """
    _State.deferring += 1
    try:
        yield
    finally:
        _State.deferring -= 1
    if _State.asked and not _State.deferring:
        end()


def end(signal_name: str = "") -> None:
    """Raise Preempted for ``signal_name`` (default: the one that was noted)."""
    raise Preempted(signal_name or _State.asked or "a signal")


def _answer(number: int, _frame: FrameType | None) -> None:
    if os.getpid() != _State.owner:
        _answer_in_child(number)
        return
    _State.asked = signal.Signals(number).name
    if not _State.deferring:
        end()


def _answer_in_child(number: int) -> None:
    # A scheduler signals the whole group. Workers of a training must live until it has ended its iteration, so the
    # first signal is spared; the second comes from the training itself, which stops a worker that does not end.
    if number != signal.SIGTERM:
        return
    if _State.spared:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    _State.spared = True
