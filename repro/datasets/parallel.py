"""One function over many items in several processes, in order, stopping at the first error or Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from repro.errors import ResourceError

T = TypeVar("T")
R = TypeVar("R")


def parallel(function: Callable[[T], R], items: Sequence[T], jobs: int = 1, chunk: int | None = None) -> Iterator[R]:
    """Yield ``function(item)`` for each of ``items``, in their order, by ``jobs`` processes (1: in this one).

    ``function`` and the items must be importable and picklable by the workers (this program's own processes). An
    exception of a worker is raised here; the items not yet begun are then given up. ``chunk`` items go to a worker at
    once (1 for items of seconds each; None: as many as keep the workers busy).
    """
    if jobs <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    # spawn: a fork of a process that has run torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(items)), context, initializer=_leave_interrupts_to_parent) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunk or max(1, min(32, len(items) // (4 * jobs))))
        except BrokenProcessPool as error:
            raise ResourceError(
                "a worker process was killed",
                expected="memory and time for all of them",
                found=str(error),
                mend="run the same command again, with fewer --jobs where memory was short",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts_to_parent() -> None:
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
