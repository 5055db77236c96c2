"""The path on a device that is not there: torch's fake tensors have a shape, a type and a device, and no numbers.

Where torch was built with CUDA they are on a GPU, whether there is one or not; elsewhere on the CPU. Shapes, types and
what the host waits for are checked on both, tensors left on the wrong device only on the former.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from repro.clip.tower import ClipTower

KIND = "cuda" if torch.backends.cuda.is_built() else "cpu"
"""The device of fake tensors."""
WITHOUT_CUDA = "torch was built without CUDA (docs/performance.md, Without a GPU)"
TO_HOST, TO_DEVICE = "copy to the host", "copy to the device"
FOUND = 8
"""Hits that a search (nonzero, a mask as an index) is taken to have in each row of what is searched, at most."""
aten = torch.ops.aten


class Wait(NamedTuple):
    """Something for which the host stops until the device has done all its work."""

    what: str
    """The operation, or the direction of a copy."""
    where: str
    """``module:function`` that asked for it."""


@contextlib.contextmanager
def fake_device(kind: str = KIND, *, answer: bool = False) -> Iterator[list[Wait]]:
    """Make every new tensor fake, and let a device of ``kind`` take them; the list collects what the host waits for.

    The host gets an answer to what it asks: ``answer`` for a bool, 1 for a number, zeros for several, up to
    :data:`FOUND` hits per row to what it searches. Put modules there by :func:`put`. Autocast works as on a real
    device, the backward pass on the CPU only.
    """
    waits: list[Wait] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")
        if kind == "cuda" and not torch.cuda.is_available():
            common = torch.cuda.amp.common
            stack.enter_context(mock.patch.object(common, "amp_definitely_not_available", return_value=False))
            stack.enter_context(mock.patch.object(torch.cuda, "is_bf16_supported", return_value=True))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        # Of a fake tensor it would ask for one value after the other.
        stack.enter_context(mock.patch.object(FakeTensor, "tolist", lambda self: self.cpu().numpy().tolist()))
        stack.enter_context(_Operations(waits, answer))
        stack.enter_context(_Calls(waits))
        yield waits


def put(module: nn.Module, kind: str = KIND) -> None:
    """Replace the numbers of ``module`` by fake tensors on the device; call it inside :func:`fake_device`.

    ``Module.to`` cannot do it, since tensors of another class cannot take the place of the old ones. Names are
    tokenised for real: that is the host's work.
    """
    made: dict[int, Tensor] = {}  # one parameter may have several names
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fake = torch.empty_like(tensor, device=kind)
                    made[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if tensors is part._parameters else fake
                tensors[name] = made[id(tensor)]  # type: ignore[assignment]
        if isinstance(part, ClipTower):
            part._tokenize = _tokenised(part._tokenize)


def _tokenised(tokenize: Any) -> Any:
    def tokens(texts: list[str]) -> Tensor:
        with _disable_current_modes():
            ids: Tensor = tokenize(texts)
            return ids.as_subclass(_OnHost)

    return tokens


class _OnHost(Tensor):
    """A real tensor amid fake ones, until it is sent to the device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with _disable_current_modes():
            if func is not Tensor.to:
                return super().__torch_function__(func, types, args, kwargs)
            shape, dtype = tuple(args[0].shape), args[0].dtype
        return torch.empty(shape, dtype=dtype, device=args[1])


class _Operations(TorchDispatchMode):
    """Notes operations whose result the host must see before it can go on, and answers them."""

    def __init__(self, waits: list[Wait], answer: bool) -> None:
        super().__init__()
        self.waits, self.answer = waits, answer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten.equal.default:
            _note(self.waits, func)
            return self.answer
        if func is aten._local_scalar_dense.default:
            _note(self.waits, func)
            return self.answer if args[0].dtype == torch.bool else 1.0 if args[0].is_floating_point() else 1
        if func is aten.nonzero.default:
            _note(self.waits, func)
            return _found(args[0])
        if func in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default):
            if any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]):
                _note(self.waits, func)
                args = (args[0], _indices(args[1]), *args[2:])
        elif torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            _note(self.waits, func)
        elif func in (aten._to_copy.default, aten.copy_.default) and not kwargs.get("non_blocking"):
            source, target = args[0], kwargs.get("device") or args[0].device
            if func is aten.copy_.default:
                source, target = args[1], args[0].device
            if (source.device.type == "cpu") != (torch.device(target).type == "cpu"):
                _note(self.waits, TO_DEVICE if source.device.type == "cpu" else TO_HOST)
        return func(*args, **kwargs)


class _Calls(TorchFunctionMode):
    """Notes what hands values to the host without an operation, which is how it looks where the device is the CPU."""

    def __init__(self, waits: list[Wait]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in (Tensor.cpu, Tensor.numpy) or isinstance(args[0], _OnHost):
            return func(*args, **kwargs)
        tensor: Tensor = args[0]
        if func is Tensor.numpy:
            return np.zeros(tuple(tensor.shape), _numpy_type(tensor.dtype))
        _note(self.waits, TO_HOST)
        return torch.empty_like(tensor, device="cpu")


def _numpy_type(dtype: torch.dtype) -> Any:
    with _disable_current_modes():
        return torch.empty((), dtype=dtype).numpy().dtype


def _found(mask: Tensor) -> Tensor:
    rows = len(mask) if mask.ndim else 1
    return mask.new_empty((rows * min(FOUND, mask.numel() // max(1, rows)), mask.ndim), dtype=torch.int64)


def _indices(indices: Any) -> list[Tensor | None]:
    """Return ``indices`` with the places of what each mask among them is taken to hold."""
    named: list[Tensor | None] = []
    for index in indices:
        masked = index is not None and index.dtype in (torch.bool, torch.uint8)
        named += _found(index).unbind(1) if masked else [index]
    return named


def _note(waits: list[Wait], what: Any) -> None:
    """Add what is asked for by the innermost function that is neither torch's nor of this module."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if module != __name__ and module.partition(".")[0] not in ("torch", "contextlib"):
            break
        frame = frame.f_back
    waits.append(Wait(str(what).removesuffix(".default"), f"{module}:{frame.f_code.co_qualname}"))
