"""Independent parts of a forward pass side by side on the cores of a CPU, one thread each.

The matrix products of a chunk are thin (tokens by 128 channels): two threads inside each of them gain 1.6, a thread a
chunk gains 2, and what a part computes does not depend on how many threads there are.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch.overrides import _get_current_function_mode
from torch.utils._python_dispatch import _get_current_dispatch_mode

Result = TypeVar("Result")
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}
_lock = threading.Lock()
_serial = threading.local()


@contextlib.contextmanager
def serial() -> Iterator[None]:
    """Run one part after another in this thread, with torch's own threads inside each: for telling stages apart."""
    before = getattr(_serial, "on", False)
    _serial.on = True
    try:
        yield
    finally:
        _serial.on = before


def threads(device: torch.device) -> int:
    """Return how many parts may run at once: torch's threads on a CPU while no gradient is recorded, else 1.

    Modes that watch operations (FLOP counters, tracing, compiling) are bound to a thread: under one of them it is 1.
    """
    if device.type != "cpu" or torch.is_grad_enabled() or getattr(_serial, "on", False) or watched():
        return 1
    return torch.get_num_threads()


def watched() -> bool:
    """Tell whether torch's operations are watched: compiled, traced, counted or changed by a mode."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return True
    return _get_current_function_mode() is not None or _get_current_dispatch_mode() is not None


def even_step(total: int, step: int, device: torch.device) -> int:
    """Return at most ``step``, so that ``total`` falls into parts that keep all threads busy to the end."""
    count = threads(device)
    if count == 1 or total <= 1:
        return step
    parts = -(-total // step)
    return -(-total // (-(-parts // count) * count))


def each(function: Callable[[int], Result], count: int, device: torch.device) -> list[Result]:
    """Return ``[function(0), .., function(count - 1)]``; the calls must not depend on each other.

    Inference mode and autocast of the caller hold in every call. The first exception in order is raised here.
    """
    workers = min(threads(device), count)
    if workers < 2:
        return [function(i) for i in range(count)]
    inference = torch.is_inference_mode_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def call(i: int) -> Result:
        with torch.inference_mode(inference), torch.no_grad(), torch.autocast("cpu", dtype, enabled=autocast):
            return function(i)

    return list(_pool(workers).map(call, range(count)))


def _pool(workers: int) -> ThreadPoolExecutor:
    """Return threads of this process (a fork has none of its parent's) in which torch uses one thread."""
    key = (os.getpid(), workers)
    with _lock:
        if key not in _pools:
            before = torch.get_num_threads()
            pool = _pools[key] = ThreadPoolExecutor(workers, "repro-part", initializer=_one_thread)
            started = threading.Barrier(workers)
            list(pool.map(lambda _: started.wait(), range(workers)))
            torch.set_num_threads(before)  # it is also what threads made later begin with
        return _pools[key]


def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread's first operation takes the number of the process, which is 1 only for now
