"""Progress on stderr: a bar with an ETA on a terminal, a line now and then in a log file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def tower_progress(title: str) -> Iterator[Callable[[int, int, float], None]]:
    """A callback (step, steps, loss) that draws a bar, created on its first call."""
    from tqdm import tqdm

    bar: tqdm | None = None

    def update(step: int, steps: int, loss: float) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(
                total=steps,
                desc=f"training {title}",
                unit="step",
                file=sys.stderr,
                mininterval=1.0 if sys.stderr.isatty() else 20.0,
            )
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        bar.update(step - bar.n)

    try:
        yield update
    finally:
        if bar is not None:
            bar.close()
