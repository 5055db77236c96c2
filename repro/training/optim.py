"""AdamW over a method's parameter groups, warm-up and cosine per group, autocast, and no silent divergence."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from torch import Tensor, nn

from repro.methods.interface import Method
from repro.training.settings import TrainSettings

BETAS = (0.9, 0.999)

WARMUP_FACTOR = 1e-3
"""Share of the learning rate at the first warm-up iteration (detectron2's default)."""

SMALLEST_LOSS_SCALE = 2.0**-10

_AUTOCAST = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def build_optimizer(method: Method, settings: TrainSettings) -> torch.optim.AdamW:
    """Build AdamW (betas 0.9, 0.999) over ``method.param_groups``.

    Raises ValueError when a parameter that requires a gradient is in no group, or one in a group requires none.
    """
    groups = method.param_groups(settings.lr, settings.weight_decay)
    grouped = {id(p) for group in groups for p in group["params"]}
    trained = {id(p): name for name, p in method.named_parameters() if p.requires_grad}
    if grouped != set(trained):
        left_out = sorted(name for key, name in trained.items() if key not in grouped)
        frozen = len(grouped - set(trained))
        raise ValueError(f"param_groups leave out {left_out} and hold {frozen} parameters that do not train")
    return torch.optim.AdamW(groups, lr=settings.lr, betas=BETAS, weight_decay=settings.weight_decay, fused=True)


def build_schedulers(optim: OptimWrapper, settings: TrainSettings) -> list[CosineAnnealingLR | LinearLR]:
    """Make mmengine's linear warm-up followed by a cosine to 0, in iterations, relative to each group.

    ``eta_min`` is 0 because mmengine takes it absolutely: groups of small learning rate would be lifted.
    """
    warmup, total = settings.warmup_iterations, settings.iterations
    schedulers: list[CosineAnnealingLR | LinearLR] = []
    if warmup > 0:
        schedulers.append(LinearLR(optim, start_factor=WARMUP_FACTOR, begin=0, end=warmup, by_epoch=False))
    if total > warmup:
        length = total - warmup
        cosine = CosineAnnealingLR(optim, eta_min=0.0, T_max=length, begin=warmup, end=total, by_epoch=False)
        schedulers.append(cosine)
    return schedulers


class AutocastOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper with torch.autocast on any device (its own AMP wrapper refuses CPUs).

    ``amp`` is ``off``, ``bf16`` or ``fp16``; fp16 scales the loss. The gradient norm over ALL trained parameters is
    clipped to ``max_norm`` (0: not clipped) and kept in :attr:`grad_norm`.

    :meth:`step` raises FloatingPointError BEFORE it changes a parameter when the norm is not finite (without loss
    scaling; with it such steps are skipped and the scale is lowered, until it has fallen below 2**-10).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, amp: str, device: torch.device, max_norm: float) -> None:
        super().__init__(optimizer=optimizer)
        self.dtype, self.device_type = _AUTOCAST[amp], device.type
        self.max_norm = max_norm if max_norm > 0 else math.inf
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")
        self.grad_norm = math.nan

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        enabled = self.dtype != torch.float32
        with super().optim_context(model), torch.autocast(self.device_type, self.dtype, enabled=enabled):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        torch.autograd.backward(self.scaler.scale(loss), **kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        self.scaler.unscale_(self.optimizer)
        trained = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.grad_norm = float(nn.utils.clip_grad_norm_(trained, self.max_norm))
        if not math.isfinite(self.grad_norm) and not self.scaler.is_enabled():
            raise FloatingPointError(f"the gradient norm is {self.grad_norm}")
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()
        if self.scaler.is_enabled() and self.scaler.get_scale() < SMALLEST_LOSS_SCALE:
            raise FloatingPointError(f"the loss scale fell to {self.scaler.get_scale()}")

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.scaler.load_state_dict(state.pop("scaler"))
        super().load_state_dict(state)
