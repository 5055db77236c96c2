"""The processes of one training or evaluation: which of them this is, and how they agree before they go on.

One process or several, the same code runs: without a group everything here is done at once and alone. Processes are
started by torchrun or Slurm (:mod:`repro.launch`), which say who is who in the environment.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist

from repro import ranks
from repro.errors import ReproError, ResourceError, RunError

T = TypeVar("T")

PATIENCE = datetime.timedelta(hours=2)
"""How long processes wait for one another: longer than the first may need to make what all of them use."""


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Tell whether this is the process that writes and prints."""
    return rank() == 0


@contextlib.contextmanager
def group(device: str) -> Iterator[str]:
    """Join the processes the launcher started and yield this one's device; without a launcher yield ``device``.

    ``cuda`` becomes the GPU of this process's place on its machine, and NCCL connects them; gloo otherwise.
    Raises ResourceError where the machine has fewer GPUs than processes.
    """
    if ranks.started() == 1 or dist.is_initialized():
        yield device
        return
    backend = "gloo"
    if device.startswith("cuda"):
        backend, place = "nccl", int(os.environ.get("LOCAL_RANK", "0"))
        visible = torch.cuda.device_count()
        if visible == 1:  # the scheduler shows each process its own
            place = 0
        if place >= visible:
            raise ResourceError(
                "more processes than GPUs on this machine",
                expected="one GPU per process",
                found=f"{visible} GPUs, process {place + 1}",
                mend="--gpus with the number of GPUs, or --device cpu",
            )
        torch.cuda.set_device(place)
        device = f"cuda:{place}"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield device
        dist.barrier()  # nobody leaves while another still reads what the first one wrote
    finally:
        dist.destroy_process_group()


def agree(error: ReproError | None) -> None:
    """Raise on every process the first ``error`` that any of them has; return where none has one."""
    if world() == 1:
        if error is not None:
            raise error
        return
    if in_any(error is not None):
        errors: list[ReproError | None] = [None] * world()
        dist.all_gather_object(errors, error)
        raise next(e for e in errors if e is not None)


def together(work: Callable[[], T]) -> T:
    """Return what ``work`` returns here, once every process has done it; an error of one is raised on all."""
    value: list[T] = []
    error = None
    try:
        value.append(work())
    except ReproError as caught:
        error = caught
    agree(error)
    return value[0]


def on_first(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, or the error it raises, on the first process, which alone does it."""
    if world() == 1:
        return work()
    outcome: list[T | ReproError | None] = [None]
    if is_first():
        try:
            outcome[0] = work()
        except ReproError as error:
            outcome[0] = error
    dist.broadcast_object_list(outcome, src=0)
    if isinstance(outcome[0], ReproError):
        raise outcome[0]
    return outcome[0]  # type: ignore[return-value]


def check_same(value: object, what: str) -> None:
    """Raise RunError on all processes where one has another ``value`` than the first, which stands for ``what``."""
    first = on_first(lambda: value)
    error = None
    if value != first:
        error = RunError(
            f"the processes do not see the same {what}",
            expected=f"{first}, which process 0 found",
            found=f"{value} in process {rank()}",
            mend="keep the run store in a folder that all machines share",
        )
    agree(error)


@contextlib.contextmanager
def held_by_first(lock: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """Hold ``lock`` in the first process for all of them."""
    with contextlib.ExitStack() as stack:
        on_first(lambda: stack.enter_context(lock))
        yield


def total(values: torch.Tensor) -> torch.Tensor:
    """Sum ``values`` over the processes (changed in place where there are several)."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def in_any(holds: bool) -> bool:
    """Tell whether ``holds`` is true in one of the processes at least; every process must call."""
    if world() == 1:
        return holds
    flag = torch.tensor(int(holds), device=_meeting_place())
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())


def gathered(own: torch.Tensor) -> list[torch.Tensor]:
    """Gather ``own`` of every process, all of one shape, in the order of their numbers."""
    if world() == 1:
        return [own]
    parts = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(parts, own.contiguous())
    return parts


def _meeting_place() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
