"""What a training step costs, counted without weights and without computing: on torch's meta device."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from repro.clip.spec import TowerSpec
from repro.engine.settings import TrainSettings
from repro.methods import MethodEntry

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Parameters, multiply-adds of one training forward pass (1e9), saved activations and total memory (GiB, fp32)."""

    parameters: int
    trained_parameters: int
    forward_gmacs: float
    saved_gib: float

    @property
    def memory_gib(self) -> float:
        """Weights, and for what trains gradients and two AdamW moments, beside the saved activations."""
        return self.saved_gib + 4 * (self.parameters + 3 * self.trained_parameters) / 2**30


def estimate_training(
    entry: MethodEntry, spec: TowerSpec, options: object, settings: TrainSettings, *, num_classes: int
) -> Estimate:
    """Count one training step of ``entry`` with ``num_classes`` classes on the meta device.

    Saved activations are the distinct storages autograd keeps for the backward pass, parameters left out; a caching
    allocator needs somewhat more.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from repro.clip.tower import build_tower

    method = entry.create(build_tower(spec), options).to("meta").train()
    parameters = {p.untyped_storage()._cdata for p in method.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    shape = (settings.batch_size, settings.crop, settings.crop)
    images = torch.empty(shape[0], 3, *shape[1:], device="meta")
    labels = torch.zeros(shape, dtype=torch.int64, device="meta")
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        losses = method.loss(images, labels, [f"class {i}" for i in range(num_classes)])
    del losses
    return Estimate(
        parameters=sum(p.numel() for p in method.parameters()),
        trained_parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        forward_gmacs=counter.get_total_flops() / 2 / 1e9,
        saved_gib=sum(saved.values()) / 2**30,
    )
