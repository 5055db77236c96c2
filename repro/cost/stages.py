"""Seconds of each stage of one inference: the image tower, what a method names, and the sliding window around it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from repro.clip.tower import ClipTower
from repro.methods.interface import Method

CLIP, OTHER, WINDOWS = "clip", "other", "windows"
"""The image tower; what is left of a method; all outside it: resizing, cutting, fusing, arg-max."""


class StageTimes:
    """Measures what runs inside ``with StageTimes(method, device) as times``; then ``times.seconds()``.

    Every moment belongs to exactly one stage, the innermost that is running, so that stages add up to the whole. On a
    GPU moments are CUDA events, and nothing is waited for before ``seconds``.
    """

    def __init__(self, method: Method, device: torch.device | str) -> None:
        self._method, self._on_gpu = method, torch.device(device).type == "cuda"
        self._running = [WINDOWS]
        self._marks: list[tuple[str, Any]] = []
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> StageTimes:
        self._watch(self._method, "forward", OTHER)
        for tower in (m for m in self._method.modules() if isinstance(m, ClipTower)):
            self._watch(tower, "dense", CLIP)
        for stage, parts in self._method.stages().items():
            for module, name in parts:
                self._watch(module, name, stage)
        self._mark(WINDOWS)
        return self

    def __exit__(self, *error: object) -> None:
        self._mark(WINDOWS)
        self._exit.close()

    def seconds(self) -> dict[str, float]:
        """Return seconds by stage; call it after the block."""
        if self._on_gpu:
            self._marks[-1][1].synchronize()
        found: dict[str, float] = {}
        for (stage, begin), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            spent = begin.elapsed_time(end) / 1e3 if self._on_gpu else end - begin
            found[stage] = found.get(stage, 0.0) + spent
        return found

    def _watch(self, module: nn.Module, name: str, stage: str) -> None:
        plain: Callable[..., Any] = getattr(module, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._running.append(stage)
            self._mark(stage)
            try:
                return plain(*args, **kwargs)
            finally:
                self._running.pop()
                self._mark(self._running[-1])

        setattr(module, name, timed)
        self._exit.callback(delattr, module, name)  # the class's own method shows through again

    def _mark(self, stage: str) -> None:
        if not self._on_gpu:
            self._marks.append((stage, time.perf_counter()))
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((stage, event))
