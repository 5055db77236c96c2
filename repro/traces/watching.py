"""Traces that are the same on any machine and name every tensor: what the gate on numbers asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from repro.sources.trace import named, summary

if TYPE_CHECKING:
    from torch import nn

_WATCHING: ContextVar[bool] = ContextVar("watching", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Take the traces of this block in float64 from the first random number on, and watch modules (:func:`watched`).

    Rounding in float32 differs between instruction sets by more than a changed constant may. OpenCV uses its plain
    code: its colour conversions round 8-bit values otherwise where a processor has AVX2.
    """
    import cv2
    import torch

    kind, optimised, token = torch.get_default_dtype(), cv2.useOptimized(), _WATCHING.set(True)
    try:
        torch.set_default_dtype(torch.float64)
        cv2.setUseOptimized(False)
        yield
    finally:
        cv2.setUseOptimized(optimised)
        torch.set_default_dtype(kind)
        _WATCHING.reset(token)


def is_portable() -> bool:
    """Tell whether a trace is taken for the gate, not for a store."""
    return _WATCHING.get()


@contextlib.contextmanager
def watched(module: nn.Module, part: str) -> Iterator[dict[str, list[float]]]:
    """Note what each module within ``module`` returns first, in the order of computation, as parts of ``part``.

    Outside of :func:`portable` nothing is noted: a store keeps no such numbers.
    """
    found: dict[str, list[float]] = {}
    handles = []
    if is_portable():
        for name, inner in module.named_modules():
            if name:
                handles.append(inner.register_forward_hook(_noting(found, named(part, name))))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _noting(found: dict[str, list[float]], name: str) -> Any:
    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if name not in found and (values := _first_tensor(output)) is not None:
            found[name] = summary(values.detach().double().numpy())

    return note


def _first_tensor(output: Any) -> Any:
    import torch

    if isinstance(output, torch.Tensor):
        return output
    inner = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return next((t for t in map(_first_tensor, inner) if t is not None), None)
