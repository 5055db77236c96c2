"""Multiply-adds by the papers' convention, counted without weights and without computing: on torch's meta device.

The convention is fvcore's: one multiply-add is one "FLOP"; matrix products and convolutions count in full, norms five
and bilinear resizing four operations per element, everything else nothing. What a tensor library fuses is seen through:
attention counts as its two matrix products, except where published counts left it out.
"""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from repro.clip.tower import ClipTower
from repro.cost.published_form import BILINEAR_OPERATIONS, NORM_OPERATIONS, forms_of

aten = torch.ops.aten
CLIP, OTHER = "clip", "other"


def _norm(inputs: Any, _output: Any) -> int:
    return NORM_OPERATIONS * inputs[0].numel()


def _bilinear(_inputs: Any, output: Any) -> int:
    return BILINEAR_OPERATIONS * output.numel()


ELEMENTWISE: Mapping[Any, Callable[[Any, Any], int]] = {
    aten.native_layer_norm: _norm,
    aten.native_group_norm: _norm,
    aten.upsample_bilinear2d: _bilinear,
}


class MultiplyAdds:
    """Counts the multiply-adds of what runs inside ``with MultiplyAdds(method) as count``, by part of the method.

    ``by_part`` maps the names of the method's direct children, ``clip`` (the image tower) and ``other`` (the method's
    own code) to counts. With ``cached_text`` the text tower does not run, as at test, where its features are cached:
    methods get features without content.

    ``as_published``: count what papers' counts are of, not what runs here. Layers whose published form does the same
    by more work are counted by that form (:mod:`repro.cost.published_form`), and attention inside the image tower,
    one fused operation that fvcore has no rule for, is left out.
    """

    def __init__(self, method: nn.Module, *, as_published: bool = False, cached_text: bool = True) -> None:
        self.by_part: dict[str, int] = defaultdict(int)
        self._method, self._as_published, self._cached_text = method, as_published, cached_text
        self._parts: list[str] = []
        self._paused = 0
        self._exit = contextlib.ExitStack()

    @property
    def total(self) -> int:
        """All multiply-adds so far."""
        return sum(self.by_part.values())

    def __enter__(self) -> MultiplyAdds:
        for name, child in self._method.named_children():
            for module in child if isinstance(child, nn.ModuleList) else [child]:
                if not isinstance(module, ClipTower):
                    self._watch(module, name)
        for tower in (m for m in self._method.modules() if isinstance(m, ClipTower)):
            self._around(tower, "dense", self.clip)
            if self._cached_text:
                self._set(tower, "text", partial(_empty_text, tower))
        if self._as_published:
            for module in self._method.modules():
                for name, form in forms_of(module).items():
                    self._replace(module, name, form)
        self._exit.enter_context(_Attention(self))
        self._exit.enter_context(_Operations(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    def _watch(self, module: nn.Module, name: str) -> None:
        def leave(*_: object) -> None:
            self._parts.pop()

        self._exit.callback(module.register_forward_pre_hook(lambda *_: self._parts.append(name)).remove)
        self._exit.callback(module.register_forward_hook(leave).remove)

    def _set(self, module: nn.Module, name: str, function: Callable[..., Any]) -> None:
        """Let ``function`` stand for the method ``name`` of ``module`` until the count ends."""
        setattr(module, name, function)
        self._exit.callback(delattr, module, name)  # the class's own method shows through again

    def _around(self, module: nn.Module, name: str, context: Callable[[], Any]) -> None:
        """Run the method ``name`` of ``module`` inside ``context()``."""
        plain = getattr(module, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with context():
                return plain(*args, **kwargs)

        self._set(module, name, wrapped)

    def _replace(self, module: nn.Module, name: str, form: Callable[..., int]) -> None:
        """Charge ``form(module, *arguments)`` instead of what the method ``name`` of ``module`` runs."""
        plain = getattr(module, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            self.add(form(module, *args))
            with self.paused():
                return plain(*args, **kwargs)

        self._set(module, name, replaced)

    @contextlib.contextmanager
    def clip(self) -> Iterator[None]:
        """Charge what runs inside to the CLIP image tower, whoever calls it."""
        self._parts.insert(0, CLIP)
        try:
            yield
        finally:
            self._parts.pop(0)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing of what runs inside."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    def add(self, count: int) -> None:
        """Charge ``count`` multiply-adds to the part that is running."""
        if count and not self._paused:
            self.by_part[self._parts[0] if self._parts else OTHER] += count

    def add_attention(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Charge the two matrix products of attention of (.., L, E) over (.., S, E) and (.., S, V)."""
        if not self._as_published or self._parts[:1] != [CLIP]:
            self.add(math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]))


def _empty_text(tower: ClipTower, names: Sequence[str], _template: str) -> Tensor:
    return torch.empty(len(names), tower.embed_dim, device=tower.mean.device)


class _Attention(TorchFunctionMode):
    """Sees fused attention before the device's choice of a kernel hides its products."""

    def __init__(self, count: MultiplyAdds) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        self.count.add_attention(*args[:3])
        with self.count.paused():
            return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    """Sees every other operation; composite ones arrive taken apart (not under inference mode: use no_grad)."""

    def __init__(self, count: MultiplyAdds) -> None:
        super().__init__()
        self.count = count

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet in ELEMENTWISE:
            result = func(*args, **kwargs)
            self.count.add(ELEMENTWISE[packet](args, result))
            return result
        if packet in flop_registry:
            result = func(*args, **kwargs)
            self.count.add(flop_registry[packet](*args, **kwargs, out_val=result) // 2)
            return result
        return func(*args, **kwargs)
