"""Progress on stderr: a bar with an ETA on a terminal, a line now and then in a log file."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping

QUIET_S = 1.0
"""Seconds of reading files that need no bar."""


@contextlib.contextmanager
def tower_progress(title: str) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
    """Yield a callback (steps done, steps, figures) that draws a bar, created on its first call."""
    with _bar(f"training {title}", "step") as update:
        yield lambda step, steps, figures: update(step, steps, " ".join(f"{k} {v:.3f}" for k, v in figures.items()))


@contextlib.contextmanager
def count_progress(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, in all) that draws a bar, created on its first call."""
    with _bar(title, unit) as update:
        yield lambda done, total: update(done, total, "")


@contextlib.contextmanager
def reading_progress(set_id: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback as :func:`count_progress` does, silent for a second, while files are read for a set's key."""
    with _bar(f"reading {set_id} once, to know it by its content", "file", quiet=QUIET_S) as update:
        yield lambda done, total: update(done, total, "")


@contextlib.contextmanager
def _bar(title: str, unit: str, quiet: float = 0.0) -> Iterator[Callable[[int, int, str], None]]:
    from tqdm import tqdm

    bar: tqdm | None = None
    begun = time.monotonic()

    def update(done: int, total: int, note: str) -> None:
        nonlocal bar
        if bar is None:
            if quiet and (done >= total or time.monotonic() - begun < quiet):
                return
            interval = 1.0 if sys.stderr.isatty() else 20.0
            bar = tqdm(total=total, desc=title, unit=unit, file=sys.stderr, mininterval=interval)
        if note:
            bar.set_postfix_str(note, refresh=False)
        bar.update(done - bar.n)

    try:
        yield update
    finally:
        if bar is not None:
            bar.close()
