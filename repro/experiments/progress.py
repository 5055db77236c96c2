"""Progress on stderr: a bar with an ETA on a terminal, a line now and then in a log file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping


@contextlib.contextmanager
def tower_progress(title: str) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
    """A callback (steps done, steps, figures) that draws a bar, created on its first call."""
    with _bar(f"training {title}", "step") as update:
        yield lambda step, steps, figures: update(step, steps, " ".join(f"{k} {v:.3f}" for k, v in figures.items()))


@contextlib.contextmanager
def count_progress(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, in all) that draws a bar, created on its first call."""
    with _bar(title, unit) as update:
        yield lambda done, total: update(done, total, "")


@contextlib.contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int, str], None]]:
    from tqdm import tqdm

    bar: tqdm | None = None

    def update(done: int, total: int, note: str) -> None:
        nonlocal bar
        if bar is None:
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
