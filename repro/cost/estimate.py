"""What an inference and a training step cost, counted without weights and without computing: on torch's meta device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.clip.spec import TowerSpec
from repro.datasets.protocol import Protocol
from repro.methods import MethodEntry
from repro.training.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

    from repro.methods.interface import Method


def build_on_meta(entry: MethodEntry, spec: TowerSpec, options: object) -> Method:
    """Build the method with all its shapes and no numbers; ``spec.weights`` are not looked for."""
    import torch

    from repro.clip.tower import build_tower

    with torch.device("meta"):
        return entry.create(build_tower(dataclasses.replace(spec, weights=None)), options)


@dataclasses.dataclass(frozen=True)
class InferenceCost:
    """Parameters, and multiply-adds (1e9) of one sliding-window inference of an image as large as a window.

    ``gflops`` counts as the papers do (fvcore's rules, the published form of layers, no attention inside CLIP's image
    tower); ``executed_gflops`` what this code runs, all attention included. ``parts`` divides ``gflops`` by the parts
    of the method. Text features are cached in both.
    """

    parameters: int
    trained_parameters: int
    gflops: float
    executed_gflops: float
    parts: Mapping[str, float]


def count_inference(
    entry: MethodEntry, spec: TowerSpec, options: object, protocol: Protocol, classes: Sequence[str]
) -> InferenceCost:
    """Count one inference by the harness's own sliding-window loop: views, method, resizing, fusing, back to size."""
    import numpy as np

    from repro.cost.flops import MultiplyAdds
    from repro.evaluation.infer import SlidingWindow

    method = build_on_meta(entry, spec, options).eval()
    parameters = sum(p.numel() for p in method.parameters())
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    # Layers work in many small chunks where no gradient is recorded; recording one of nothing counts them whole.
    whole = _recording(method.requires_grad_(False))
    window = SlidingWindow(protocol, chunk_mib=1 << 30)
    image = np.zeros((protocol.window, protocol.window, 3), np.uint8)
    counts = {}
    for as_published in (True, False):
        with MultiplyAdds(method, as_published=as_published) as counts[as_published]:
            window.scores(whole, image, classes)
    return InferenceCost(
        parameters,
        trained,
        counts[True].total / 1e9,
        counts[False].total / 1e9,
        {part: count / 1e9 for part, count in counts[True].by_part.items()},
    )


def _recording(method: Method) -> Any:
    import torch
    from torch import nn

    class Recording(nn.Module):
        """``method`` as the sliding window sees it, with gradients recorded."""

        activation = method.activation

        def __init__(self) -> None:
            super().__init__()
            self.method = method

        def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
            with torch.enable_grad():
                return method(images, classes)

    return Recording()


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
    allocator needs somewhat more. Attention is taken to be fused, as it is on a CPU and on a GPU: its weights are not
    kept.
    """
    import torch

    from repro.cost.flops import MultiplyAdds
    from repro.cost.fused import FusedAttention

    method = build_on_meta(entry, spec, options).train()
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
    trains_text = any(p.requires_grad for n, p in method.named_parameters() if ".model.transformer." in n)
    with (
        FusedAttention(),
        MultiplyAdds(method, cached_text=not trains_text) as counter,
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        losses = method.loss(images, labels, [f"class {i}" for i in range(num_classes)])
    del losses
    return Estimate(
        parameters=sum(p.numel() for p in method.parameters()),
        trained_parameters=sum(p.numel() for p in method.parameters() if p.requires_grad),
        forward_gmacs=counter.total / 1e9,
        saved_gib=sum(saved.values()) / 2**30,
    )
