"""Ways to run a method faster, all off by default: each changes how numbers are rounded."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from repro.errors import ResourceError, RunError, UsageError
from repro.methods.interface import Method

AMP = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclasses.dataclass(frozen=True)
class Speedups:
    """What a forward pass is allowed besides plain float32.

    ``amp``: torch.autocast in bfloat16 or float16 (logits come out in float32). ``compile``: torch.compile, for fixed
    shapes and classes. ``channels_last``: weights and images in that layout. ``graphs``: CUDA graphs, captured once a
    shape and vocabulary. ``tf32``: 10-bit mantissas in float32 products and convolutions of a GPU.
    """

    amp: Literal["off", "bf16", "fp16"] = "off"
    compile: bool = False
    channels_last: bool = False
    graphs: bool = False
    tf32: bool = False

    def __post_init__(self) -> None:
        if self.amp not in AMP:
            raise UsageError("unknown precision", expected=", ".join(AMP), found=self.amp)

    def facts(self) -> dict[str, Any]:
        """Return what is on, as plain data; empty for plain float32, so that nothing that stands without it changes."""
        plain = dataclasses.asdict(Speedups())
        return {k: v for k, v in dataclasses.asdict(self).items() if v != plain[k]}

    def label(self) -> str:
        """Describe in words for tables: ``float32``, ``bf16, compiled``."""
        names = {
            "compile": "compiled",
            "channels_last": "channels-last",
            "graphs": "CUDA graphs",
            "tf32": "TF32",
        }
        return ", ".join(
            ["float32" if self.amp == "off" else self.amp, *(names[k] for k in self.facts() if k in names)]
        )

    def check(self, device: torch.device | str) -> None:
        """Raise ResourceError where ``device`` cannot do what is asked for."""
        on_gpu = torch.device(device).type == "cuda"
        for name, wanted in (("CUDA graphs", self.graphs), ("TF32", self.tf32)):
            if wanted and not on_gpu:
                raise ResourceError(
                    f"{name} need a GPU" if name.endswith("s") else f"{name} needs a GPU",
                    expected="a CUDA device",
                    found=str(device),
                    mend="leave it out, or --device cuda on a machine that has one",
                )
        if self.compile and not _can_compile(on_gpu):
            raise ResourceError(
                f"torch.compile needs {'Triton' if on_gpu else 'a C++ compiler'} on this device",
                expected="the package triton" if on_gpu else "c++, g++ or clang++ on the PATH, or CXX",
                found="none",
                mend="install it, or leave --compile out",
            )


def _can_compile(on_gpu: bool) -> bool:
    if on_gpu:
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++") if name)


@contextlib.contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """Run float32 products and convolutions of a GPU in full precision, or with ``tf32`` in TF32; as before afterwards.

    PyTorch's own default is TF32 in convolutions only.
    """
    places: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = tf32
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value


def speed_up(method: Method, speedups: Speedups, device: torch.device | str) -> Method:
    """Put ``method`` on ``device`` as ``speedups`` say, the method itself where they say nothing.

    ResourceError where the device cannot do it. Apply :func:`float32_products` around its use.
    """
    speedups.check(device)
    method.to(device)
    if not speedups.facts():
        return method
    return SpedUp(method, speedups)


class SpedUp(Method):
    """A method whose forward pass runs faster; everything else is the method's own."""

    def __init__(self, method: Method, speedups: Speedups) -> None:
        super().__init__()
        self.activation = method.activation
        if speedups.channels_last:
            method = method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.method = method
        self.speedups = speedups
        # Part of the state, so that what recognises finished work by weights does not take it for the plain method's.
        self.register_buffer("speedups_label", torch.tensor(list(speedups.label().encode()), dtype=torch.uint8))
        # Functions, not modules: the method must not be registered twice.
        self._run: Any = torch.compile(method.forward, dynamic=False) if speedups.compile else method.__call__
        self._graphs: dict[tuple[Any, ...], _Graph] = {}

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return logits (B, N, h, w) float32. RunError where a CUDA graph cannot be captured."""
        if self.speedups.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        if not self.speedups.graphs or torch.is_grad_enabled():
            return self._plain(images, classes)
        key = (tuple(images.shape), images.dtype, tuple(classes))
        if key not in self._graphs:
            self._graphs = {key: _Graph(self._plain, images, classes)}  # one at a time: each holds its memory
        return self._graphs[key](images)

    def _plain(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        amp = self.speedups.amp
        with torch.autocast(images.device.type, AMP[amp], enabled=amp != "off"):
            logits: Tensor = self._run(images, classes)
        return logits.float()

    def prompts(self, names: Sequence[str], background: int | None) -> tuple[str, ...]:
        return self.method.prompts(names, background)

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        return self.method.loss(images, labels, classes)

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        return self.method.param_groups(lr, weight_decay)

    def switches(self) -> dict[str, Any]:
        return self.method.switches()

    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        return self.method.diagnostics(images, classes)

    def stages(self) -> Mapping[str, Sequence[tuple[nn.Module, str]]]:
        return self.method.stages()


class _Graph:
    """One captured forward pass: replays into the same memory and hands out a copy."""

    def __init__(self, run: Any, images: Tensor, classes: Sequence[str]) -> None:
        self.images = images.clone(memory_format=torch.preserve_format)
        side = torch.cuda.Stream(images.device)
        side.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(side):  # text features, kernels' choices and workspaces are made outside the capture
            for _ in range(3):
                run(self.images, classes)
        torch.cuda.current_stream(images.device).wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self.graph):
                self.logits: Tensor = run(self.images, classes)
        except RuntimeError as error:
            raise RunError(
                "the forward pass cannot be captured as a CUDA graph",
                expected="no step that waits for the GPU or whose shapes depend on values",
                found=str(error).partition("\n")[0],
                mend="leave --cuda-graphs out",
            ) from error

    def __call__(self, images: Tensor) -> Tensor:
        self.images.copy_(images)
        self.graph.replay()
        return self.logits.clone()
