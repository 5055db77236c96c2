"""One step of a training: from a batch to changed weights, whatever number of parts and processes it is divided into.

A loss that is a mean over images or labelled pixels (:meth:`repro.methods.interface.Method.loss_over`) is put together
from its parts with their shares of the whole batch, so that the gradient is that of the undivided batch: processes
that see fewer labelled pixels count for less.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn

from repro.clip.tower import ClipTower
from repro.errors import UsageError
from repro.launch import processes
from repro.methods.interface import Method
from repro.methods.speedups import Speedups
from repro.training.activations import checkpoint_activations
from repro.training.class_sample import sample_classes
from repro.training.named_crops import present_classes
from repro.training.optim import AutocastOptimWrapper
from repro.training.pipeline import IGNORED
from repro.training.settings import Placement, TrainSettings

EXPECTED = 20_000
"""Up to so many names all texts of a vocabulary are encoded once; of more those of a step, in every step."""
Compute = Callable[[Tensor, Tensor, Sequence[str]], dict[str, Tensor]]
"""What :meth:`repro.methods.interface.Method.loss` is."""


class TrainModel(nn.Module):
    """A method as mmengine's Runner calls it; the state dict is the method's under ``method.``."""

    def __init__(
        self,
        method: Method,
        classes: tuple[str, ...],
        device: torch.device,
        settings: TrainSettings,
        seed: int,
        placement: Placement,
        *,
        named: bool = False,
    ) -> None:
        super().__init__()
        self.method, self.classes, self.device, self.seed = method, classes, device, seed
        self.classes_per_step, self.parts = settings.classes_per_step, placement.accumulate
        if 0 < self.classes_per_step < len(classes) or (named and len(classes) <= EXPECTED):
            _expect_texts(method, classes)
        if placement.checkpoint_activations:
            checkpoint_activations(method)
        if placement.channels_last:
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        changing = named or settings.classes_per_step > 0
        whole: Compute = method.image_loss if named else method.loss
        self._compute = _compiled(whole, changing, device) if placement.compile else whole
        # In a list: a second registration would double every name of the state dict.
        self._wrapped: list[MMDistributedDataParallel] = []

    def join(self) -> None:
        """Average gradients over the processes from now on; call it with the method on its device, before training."""
        if processes.world() > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            # A method need not use every parameter for every batch (no class of an image, an option of the loss).
            wrapper = MMDistributedDataParallel(
                _Losses(self.method, self._compute),
                device_ids=ids,
                broadcast_buffers=False,
                find_unused_parameters=True,
            )
            self._wrapped = [wrapper]

    def train_step(self, data: dict[str, Tensor], optim_wrapper: AutocastOptimWrapper) -> dict[str, float]:
        """Take one optimiser step on this process's part of the batch; the values of the whole batch.

        FloatingPointError, with no weight changed, when the loss is not finite.
        """
        images = data["image"].to(self.device, non_blocking=True).float()
        labels, whole, classes = self._labels(data)
        parts = list(zip(images.chunk(self.parts), labels.chunk(self.parts), strict=True))
        alone = len(parts) == 1 and processes.world() == 1
        sums: dict[str, Tensor] = {}
        for number, (part, truth) in enumerate(parts, start=1):
            with self._synchronised(number == len(parts)):
                with optim_wrapper.optim_context(self):
                    values = self._losses(part, truth, classes)
                shares = {} if alone else {k: loss_share(self.method, k, truth, whole) for k in values}
                terms = [v if alone else v * shares[k] for k, v in values.items() if k.startswith("loss")]
                total = torch.stack(terms).sum()
                _add(sums, values, shares, total)
                # Processes' gradients are averaged, not summed.
                optim_wrapper.backward(total if alone else total * processes.world())
        scalars = _scalars(sums)
        _check(scalars)
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        return scalars

    def _labels(self, data: dict[str, Tensor]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Return the labels of this process's images, those of the whole batch, and the classes that they index."""
        if "named" in data:
            return present_classes(data["named"].to(self.device, non_blocking=True), self.classes)
        labels = data["label"].to(self.device, non_blocking=True).long()
        whole = torch.cat(processes.gathered(labels))
        classes = self.classes
        if 0 < self.classes_per_step < len(classes):
            seed = (self.seed, int(data["position"][0]) - processes.rank())
            chosen, relabelled = sample_classes(whole, len(classes), self.classes_per_step, seed)
            classes = tuple(classes[i] for i in chosen)
            own = slice(processes.rank() * len(labels), (processes.rank() + 1) * len(labels))
            labels = relabelled[own]
        return labels, whole, classes

    def _losses(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        if self._wrapped:
            values: dict[str, Tensor] = self._wrapped[0](images, labels, classes)
            return values
        return self._compute(images, labels, classes)

    def _synchronised(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Exchange gradients once per step, in the backward pass of its last part."""
        if last or not self._wrapped:
            return contextlib.nullcontext()
        return self._wrapped[0].no_sync()


class _Losses(nn.Module):
    """The losses as a forward pass, which is what the data-parallel wrapper watches."""

    def __init__(self, method: Method, compute: Compute) -> None:
        super().__init__()
        self.method, self._compute = method, compute

    def forward(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        return self._compute(images, labels, classes)


def _expect_texts(method: Method, classes: Sequence[str]) -> None:
    """Tell the CLIP towers of ``method`` which texts the steps draw from."""
    texts = [text for own in method.texts(classes) for text in own]
    for part in method.modules():
        if isinstance(part, ClipTower):
            part.expect(texts)


def _compiled(losses: Compute, changing: bool, device: torch.device) -> Compute:
    """Compile ``losses``; UsageError where every step has other classes, ResourceError without a compiler."""
    if changing:
        raise UsageError(
            "steps with different classes would each be compiled again",
            expected="masks, and classes_per_step = 0",
            found="classes that change from step to step",
            mend="leave --compile out, or train over the whole vocabulary",
        )
    Speedups(compile=True).check(device)
    compute: Compute = torch.compile(losses, dynamic=False)
    return compute


def loss_share(method: Method, name: str, labels: Tensor, whole: Tensor) -> float:
    """Return the share of ``labels`` in the mean over the ``whole`` batch that the value ``name`` is."""
    if method.loss_over(name) == "images":
        return len(labels) / len(whole)
    return int((labels != IGNORED).sum()) / max(1, int((whole != IGNORED).sum()))


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor], shares: Mapping[str, float], total: Tensor) -> None:
    for name, value in values.items():
        part = value.detach().double() * shares.get(name, 1.0)
        sums[name] = sums[name] + part if name in sums else part
    sums["loss"] = sums["loss"] + total.detach().double() if "loss" in sums else total.detach().double()


def _scalars(sums: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the values of the whole batch: each summed over the processes, which all get the same."""
    together = processes.total(torch.stack([v.reshape(()) for v in sums.values()]))
    return dict(zip(sums, together.tolist(), strict=True))


def _check(scalars: Mapping[str, float]) -> None:
    if not math.isfinite(scalars["loss"]):
        raise FloatingPointError(", ".join(f"{k} = {v}" for k, v in scalars.items() if k != "loss"))
