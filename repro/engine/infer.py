"""Sliding-window inference by one protocol (specs/benchmarks.md, specs/catseg.md "Inference")."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from repro.benchmarks.protocol import Protocol
from repro.engine.clock import StageClock
from repro.errors import RunError, UsageError
from repro.layers.method import Method

_MIB = 2**20


def shortest_edge_size(height: int, width: int, short_side: int, max_long_side: int) -> tuple[int, int]:
    """(height, width) with the shorter side ``short_side`` unless the longer would exceed ``max_long_side``.

    Rounds as detectron2's ResizeShortestEdge does (half a pixel is added, then truncated), in the same order of
    floating-point operations, so that sizes agree to the pixel.
    """
    scale = short_side / min(height, width)
    new_h, new_w = (float(short_side), scale * width) if height < width else (scale * height, float(short_side))
    if max(new_h, new_w) > max_long_side:
        scale = max_long_side * 1.0 / max(new_h, new_w)
        new_h, new_w = new_h * scale, new_w * scale
    return int(new_h + 0.5), int(new_w + 0.5)


class SlidingWindow:
    """Scores and predictions of a method for whole images under ``protocol``.

    The image is resized as the official test pipeline does it (Pillow's bilinear on 8-bit RGB), then bilinearly (not
    antialiased) to the canvas, which is cut into windows; the whole-image view is made from the resized image, not
    from the canvas. Per view the LOGITS are resized to the window and then turned into scores by the method's
    activation; scores are averaged over the windows that cover a pixel, then with the whole-image view resized to the
    canvas, and the result is resized to the image's own size.

    ``view_batch`` views go through the method at once (0: all). ``chunk_mib`` limits the memory of the steps after
    the method: they run on as many classes at a time as fit, and :meth:`predict` keeps a running maximum, so 847
    classes at full size are never held. Raises UsageError for a protocol whose windows do not tile the canvas.
    """

    def __init__(self, protocol: Protocol, *, view_batch: int = 0, chunk_mib: int = 0) -> None:
        window, canvas, stride = protocol.window, protocol.canvas, protocol.stride
        if not 0 < stride <= window <= canvas or (canvas - window) % stride:
            raise UsageError(
                "the windows of this protocol do not tile its canvas",
                expected="window <= canvas, 0 < stride <= window and (canvas - window) divisible by the stride",
                found=f"canvas {canvas}, window {window}, stride {stride} (overlap {protocol.overlap})",
            )
        self.protocol, self.view_batch, self.chunk_mib = protocol, view_batch, chunk_mib
        starts = range(0, canvas - window + 1, stride)
        self.corners = [(top, left) for top in starts for left in starts]

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """``image`` uint8 (H, W, 3) resized as the test pipeline does it."""
        height, width = shortest_edge_size(
            image.shape[0], image.shape[1], self.protocol.short_side, self.protocol.max_long_side
        )
        if (height, width) == image.shape[:2]:
            return image
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def views(self, resized: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
        """The views (V, 3, window, window), float RGB 0..255, of a ``resized`` image; the whole image is the last."""
        p = self.protocol
        pixels = torch.from_numpy(np.array(resized)).to(device).permute(2, 0, 1)[None].float()
        canvas = _resize(pixels, (p.canvas, p.canvas))[0]
        views = [canvas[:, top : top + p.window, left : left + p.window] for top, left in self.corners]
        if p.whole_image:
            views.append(_resize(pixels, (p.window, p.window))[0])
        return torch.stack(views)

    @torch.no_grad()
    def scores(self, method: Method, image: NDArray[np.uint8], classes: Sequence[str]) -> Tensor:
        """Scores (N, H, W) float32 on the method's device for a uint8 RGB image (H, W, 3) and N class names."""
        logits = self._logits(method, self.resize(image), classes, StageClock(_device(method)))
        size = (image.shape[0], image.shape[1])
        return torch.cat([chunk for _, chunk in self._score_chunks(method, logits, size)])

    @torch.no_grad()
    def predict(
        self, method: Method, image: NDArray[np.uint8], classes: Sequence[str], clock: StageClock | None = None
    ) -> NDArray[np.int64]:
        """The class index (H, W) int64 with the largest score at each pixel (the first of equals).

        ``clock`` collects the seconds of the stages ``resize`` (before and after the method) and ``forward``. Raises
        RunError when the method returns NaN.
        """
        clock = clock or StageClock(_device(method))
        with clock("resize"):
            resized = self.resize(image)
        logits = self._logits(method, resized, classes, clock)
        with clock("resize"):
            if torch.isnan(logits).any():
                raise RunError(
                    "the method returned NaN", mend="repro doctor, then check the weights this run was evaluated from"
                )
            size = (image.shape[0], image.shape[1])
            best = torch.full(size, -torch.inf, device=logits.device)
            index = torch.zeros(size, dtype=torch.int64, device=logits.device)
            for first, chunk in self._score_chunks(method, logits, size):
                value, place = chunk.max(dim=0)
                better = value > best
                best = torch.where(better, value, best)
                index = torch.where(better, place + first, index)
            return index.cpu().numpy()

    def _logits(self, method: Method, resized: NDArray[np.uint8], classes: Sequence[str], clock: StageClock) -> Tensor:
        """Logits (V, N, h, w) float32 of all views."""
        with clock("resize"):
            views = self.views(resized, _device(method))
        with clock("forward"):
            batches = torch.split(views, self.view_batch or len(views))
            return torch.cat([method(batch, classes).float() for batch in batches])

    def _score_chunks(self, method: Method, logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
        """(first class, scores (k, H, W) of k classes) until all classes are done."""
        p, num_classes = self.protocol, logits.shape[1]
        pixels_a_class = 2 * len(logits) * p.window**2 + 2 * p.canvas**2 + 2 * size[0] * size[1]
        limit = (self.chunk_mib or (1024 if logits.is_cuda else 32)) * _MIB
        step = min(num_classes, max(1, limit // (4 * pixels_a_class)))
        normaliser = None
        if method.activation == "softmax" and step < num_classes:
            for part in torch.split(logits, step, dim=1):
                partial = _resize(part, (p.window, p.window)).logsumexp(dim=1, keepdim=True)
                normaliser = partial if normaliser is None else torch.logaddexp(normaliser, partial)
        for first in range(0, num_classes, step):
            views = _resize(logits[:, first : first + step], (p.window, p.window))
            if method.activation == "sigmoid":
                views = views.sigmoid()
            else:
                views = views.softmax(dim=1) if normaliser is None else (views - normaliser).exp()
            yield first, _resize(self._fuse(views)[None], size)[0]

    def _fuse(self, views: Tensor) -> Tensor:
        """One map (k, canvas, canvas) from the scores (V, k, window, window) of all views."""
        p = self.protocol
        total = views.new_zeros(views.shape[1], p.canvas, p.canvas)
        cover = views.new_zeros(p.canvas, p.canvas)
        for view, (top, left) in zip(views, self.corners, strict=False):
            total[:, top : top + p.window, left : left + p.window] += view
            cover[top : top + p.window, left : left + p.window] += 1
        total /= cover
        if p.whole_image:
            total = (total + _resize(views[-1:], (p.canvas, p.canvas))[0]) / 2
        return total


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _device(method: Method) -> torch.device:
    tensor = next(itertools.chain(method.parameters(), method.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
