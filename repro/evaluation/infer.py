"""Sliding-window inference by one protocol (docs/specs/benchmarks.md, docs/specs/catseg.md "Inference")."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from repro.clock import StageClock
from repro.datasets.protocol import Protocol
from repro.errors import RunError, UsageError
from repro.evaluation.pruned import pruned_labels, worthwhile
from repro.methods.interface import Method

ACTIVATIONS = 32
"""Values a method is taken to hold at once for each value of a view; a plain ViT-B/16 holds about 30."""
EIGHT_BIT_CLASSES = 255
"""Up to so many classes a label map has 8 bits, beyond it 16."""
_MIB = 2**20


def shortest_edge_size(height: int, width: int, short_side: int, max_long_side: int) -> tuple[int, int]:
    """Return (height, width) with the shorter side ``short_side`` unless the longer would exceed ``max_long_side``.

    Rounds as detectron2's ResizeShortestEdge does (half a pixel is added, then truncated), in the same order of
    floating-point operations, so that sizes agree to the pixel; but a side that would vanish keeps one pixel.
    """
    scale = short_side / min(height, width)
    new_h, new_w = (float(short_side), scale * width) if height < width else (scale * height, float(short_side))
    if max(new_h, new_w) > max_long_side:
        scale = max_long_side * 1.0 / max(new_h, new_w)
        new_h, new_w = new_h * scale, new_w * scale
    return max(1, int(new_h + 0.5)), max(1, int(new_w + 0.5))


class SlidingWindow:
    """Scores and predictions of a method for whole images under ``protocol``.

    The image is resized as the official test pipeline does it (Pillow's bilinear on 8-bit RGB), then bilinearly (not
    antialiased) to the canvas, which is cut into windows; the whole-image view is made from the resized image, not
    from the canvas. Per view the LOGITS are resized to the window and then turned into scores by the method's
    activation; scores are averaged over the windows that cover a pixel, then with the whole-image view resized to the
    canvas, and the result is resized to the image's own size.

    ``view_batch`` views go through the method at once (0: all that are given). ``chunk_mib`` limits the memory of the
    steps after the method: they run on as many classes at a time as fit, and :meth:`labels` keeps a running maximum,
    so 847 classes at full size are never held. ``batch_mib`` is the memory that the views of several images may take
    in the method at once, see :meth:`images_at_once`. 0 stands for a default by the device. Raises UsageError for a
    protocol whose windows are larger than the canvas, or do not move.
    """

    def __init__(self, protocol: Protocol, *, view_batch: int = 0, chunk_mib: int = 0, batch_mib: int = 0) -> None:
        window, canvas, stride = protocol.window, protocol.canvas, protocol.stride
        if not 0 < stride <= window <= canvas:
            raise UsageError(
                "the windows of this protocol do not cover its canvas",
                expected="window <= canvas and 0 < stride <= window",
                found=f"canvas {canvas}, window {window}, stride {stride} (overlap {protocol.overlap})",
            )
        self.protocol, self.view_batch, self.chunk_mib, self.batch_mib = protocol, view_batch, chunk_mib, batch_mib
        self.corners = [(top, left) for top in protocol.starts for left in protocol.starts]

    def images_at_once(self, num_classes: int, device: torch.device | str) -> int:
        """Return how many images' views go through a method together: a function of its arguments alone, 1 or more.

        A view is taken to need 32 times its pixels in activations, and logits at a quarter of its size. On a GPU the
        default is 4 GiB; on a CPU one image, which keeps its cores as busy as many do.
        """
        budget = self.batch_mib or (4096 if torch.device(device).type == "cuda" else 0)
        side = self.protocol.window
        view = 4 * (ACTIVATIONS * 3 * side**2 + num_classes * (side // 4) ** 2)
        return max(1, budget * _MIB // (view * self.protocol.views))

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize ``image`` uint8 (H, W, 3) as the test pipeline does."""
        height, width = shortest_edge_size(
            image.shape[0], image.shape[1], self.protocol.short_side, self.protocol.max_long_side
        )
        if (height, width) == image.shape[:2]:
            return image
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    def views(self, resized: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
        """Return the views (V, 3, window, window), float RGB 0..255, of a ``resized`` image; the whole image last."""
        p = self.protocol
        pixels = torch.from_numpy(np.array(resized)).to(device).permute(2, 0, 1)[None].to(torch.get_default_dtype())
        canvas = _resize(pixels, (p.canvas, p.canvas))[0]
        views = [canvas[:, top : top + p.window, left : left + p.window] for top, left in self.corners]
        if p.whole_image:
            views.append(_resize(pixels, (p.window, p.window))[0])
        return torch.stack(views)

    @torch.no_grad()
    def scores(self, method: Method, image: NDArray[np.uint8], classes: Sequence[str]) -> Tensor:
        """Return scores (N, H, W) float32 on the method's device for a uint8 RGB image (H, W, 3) and N class names."""
        (logits,) = self.logits(method, [self.resize(image)], classes)
        return torch.cat([chunk for _, chunk in self.score_chunks(method, logits, (image.shape[0], image.shape[1]))])

    def predict(
        self, method: Method, image: NDArray[np.uint8], classes: Sequence[str], clock: StageClock | None = None
    ) -> NDArray[np.int64]:
        """Return the class index (H, W) int64 with the largest score at each pixel (the first of equals).

        ``clock`` collects the seconds of the stages ``resize`` (before and after the method) and ``forward``. Raises
        RunError when the method returns NaN.
        """
        clock = clock or StageClock(_device(method))
        with clock("resize"):
            resized = self.resize(image)
        (logits,) = self.logits(method, [resized], classes, clock)
        with clock("resize"):
            return self.labels(method, logits, (image.shape[0], image.shape[1])).astype(np.int64)

    @torch.no_grad()
    def logits(
        self,
        method: Method,
        resized: Sequence[NDArray[np.uint8]],
        classes: Sequence[str],
        clock: StageClock | None = None,
    ) -> list[Tensor]:
        """Return logits (V, N, h, w) float32 of all views of each of the ``resized`` images, which run together."""
        clock = clock or StageClock(_device(method))
        with clock("resize"):
            views = [self.views(image, _device(method)) for image in resized]
            every = views[0] if len(views) == 1 else torch.cat(views)
        with clock("forward"):
            step = self.view_batch or len(every)
            logits = method(every[:step], classes).to(torch.get_default_dtype())
            if step < len(every):
                first, logits = logits, logits.new_empty(len(every), *logits.shape[1:])
                logits[:step] = first
                for start in range(step, len(every), step):
                    logits[start : start + step] = method(every[start : start + step], classes)
        return list(logits.split(len(views[0])))

    @torch.no_grad()
    def labels(self, method: Method, logits: Tensor, size: tuple[int, int], last: int | None = None) -> NDArray[Any]:
        """Return the class (H, W) with the largest score at each pixel of an image of ``size``, the first of equals.

        ``logits`` (V, N, h, w) are those of its views. With ``last`` all classes from there on are that one. Beside
        one chunk of classes six bytes per pixel are held. uint8 for up to 255 classes, else uint16. RunError for NaN.
        """
        finite = bool(logits.sum().isfinite())  # one pass, no memory: a sum shows every NaN and infinity in it
        if not finite and any(bool(torch.isnan(view).any()) for view in logits):
            raise RunError(
                "the method returned NaN", mend="repro doctor, then check the weights this run was evaluated from"
            )
        last = logits.shape[1] - 1 if last is None else last
        small = last < EIGHT_BIT_CLASSES
        if finite and worthwhile(logits, self.protocol):
            found = pruned_labels(self.protocol, self.corners, method.activation, logits, size, last)
            return found.astype(np.uint8 if small else np.uint16, copy=False)
        best = torch.full(size, -torch.inf, device=logits.device)
        better = torch.empty(size, dtype=torch.bool, device=logits.device)
        index = torch.zeros(size, dtype=torch.uint8 if small else torch.int16, device=logits.device)
        for first, chunk in self.score_chunks(method, logits, size):
            for place, scores in enumerate(chunk, start=first):
                torch.gt(scores, best, out=better)  # above all before it: the first of equals stays
                index.masked_fill_(better, min(place, last))
                torch.maximum(best, scores, out=best)
            del chunk, scores  # before the next chunk is made
        return index.cpu().numpy().astype(np.uint8 if small else np.uint16, copy=False)

    def score_chunks(self, method: Method, logits: Tensor, size: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (first class, scores (k, H, W) of k classes), what the arg-max is taken of, until all are done."""
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
            if method.activation == "softmax":
                views = views.softmax(dim=1) if normaliser is None else (views - normaliser).exp_()
            elif views.shape[-2:] == logits.shape[-2:]:
                views = views.sigmoid()  # not resized: still the logits themselves
            else:
                views = views.sigmoid_()
            fused = self._fuse(views)
            del views  # before the maps at full size are made
            yield first, _resize(fused[None], size)[0]

    def _fuse(self, views: Tensor) -> Tensor:
        """Return one map (k, canvas, canvas) from the scores (V, k, window, window) of all views."""
        p = self.protocol
        total = views.new_zeros(views.shape[1], p.canvas, p.canvas)
        cover = views.new_zeros(p.canvas, p.canvas)
        for view, (top, left) in zip(views, self.corners, strict=False):
            total[:, top : top + p.window, left : left + p.window] += view
            cover[top : top + p.window, left : left + p.window] += 1
        total /= cover
        if p.whole_image:
            total += _resize(views[-1:], (p.canvas, p.canvas))[0]
            total /= 2
        return total


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _device(method: Method) -> torch.device:
    tensor = next(itertools.chain(method.parameters(), method.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
