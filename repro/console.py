"""Lines on stderr and times in words, for commands and notebooks alike."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from repro import ranks

Log = Callable[[str], None]


def log(message: str) -> None:
    """Print one line on stderr, with the time of day; of several processes the first one speaks."""
    if ranks.is_first():
        print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def duration(seconds: float | None) -> str:
    """Say a time in words: ``3 h 05 min``, ``4 min 10 s``, ``12 s``; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    s = round(seconds)
    if s >= 3600:
        return f"{s // 3600} h {s % 3600 // 60:02d} min"
    return f"{s // 60} min {s % 60:02d} s" if s >= 60 else f"{s} s"


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Keep libraries' chatter off stdout, where only results and JSON belong."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
