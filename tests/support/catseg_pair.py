"""CAT-Seg of the harness and the spelled-out reference with the same weights, for ratios of time and memory.

As a script it runs one of them in a process of its own and prints what it took:

    python tests/support/catseg_pair.py {ours,reference,disa} {B,tower} CLASSES [--pad-len N] [--views {1,5}] [--bf16]
        [--rounds N] [--glibc]

``B`` is ViT-B/16 at its published sizes with drawn weights, ``tower`` the same aggregator behind a small tower, whose
time and memory hardly count. Text features are computed beforehand, as both implementations do at test.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from repro.runtime import allocator_thresholds, keep_memory, prepare

if "--glibc" not in sys.argv:
    prepare()

import numpy as np
import torch
from catseg_official import to_official
from catseg_reference import VIT_B, CatSegReference
from peak_memory import peak_mib
from torch import Tensor

from baselines.catseg.model import CatSeg
from baselines.catseg.options import CatSegOptions
from disa.model import DiSa
from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower
from repro.datasets.protocol import Protocol
from repro.evaluation.infer import SlidingWindow
from repro.methods.interface import Method

Size = Literal["B", "tower"]
HEIGHT, WIDTH = 480, 640
_TOWER = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 28, "layers": 9, "width": 32, "head_width": 16, "patch_size": 2},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


class CachedTextReference(CatSegReference):
    """The reference with the text features it is given instead of a text tower."""

    features: Tensor

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.features


def names(count: int) -> list[str]:
    return [f"thing {i}" for i in range(count)]


def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """uint8 RGB (480, 640, 3), smooth."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.float32)
    pixels = torch.from_numpy(coarse).permute(2, 0, 1)[None]
    fine = torch.nn.functional.interpolate(pixels, (HEIGHT, WIDTH), mode="bilinear")[0]
    return fine.permute(1, 2, 0).to(torch.uint8).numpy()


def tower(size: Size) -> ClipTower:
    if size == "B":
        return build_tower(TowerSpec(weights=None))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "open_clip_config.json").write_text(json.dumps({"model_cfg": _TOWER}))
        return build_tower(TowerSpec(model=folder, weights=None, resolution=48))


def catseg(size: Size, pad_len: int = 256) -> CatSeg:
    """CAT-Seg with drawn weights; ``pad_len`` below the published 256 for fewer classes with as large a share."""
    torch.manual_seed(0)
    return CatSeg(tower(size), CatSegOptions(pad_len=pad_len)).eval()


def reference(method: CatSeg, classes: Sequence[str]) -> CachedTextReference:
    shape = VIT_B
    if method.clip.resolution != shape.resolution:
        shape = dataclasses.replace(
            shape, resolution=method.clip.resolution, vision_heads=2, guide_blocks=method.guide_blocks
        )
    result = CachedTextReference(to_official(method), dataclasses.replace(shape, pad_len=method.options.pad_len))
    with torch.no_grad():
        result.features = method.clip.text(classes, method.options.templates[0])[:, None]
    return result


def protocol(views: int) -> Protocol:
    """The published sliding window of five views, or the whole image alone as its only window."""
    return Protocol() if views == 5 else Protocol(canvas=384, whole_image=False)


def ours(method: Method, classes: Sequence[str], views: int = 5) -> Callable[[], Tensor]:
    """Inference of a method as the harness does it, up to the label map (H, W)."""
    window, image = SlidingWindow(protocol(views)), picture()

    def run() -> Tensor:
        with torch.inference_mode():
            return torch.from_numpy(window.predict(method, image, classes))

    return run


def theirs(network: CachedTextReference, views: int = 5) -> Callable[[], Tensor]:
    """The same of the reference."""
    image, tokens = SlidingWindow(protocol(views)).resize(picture()), torch.empty(0)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float()

    def run() -> Tensor:
        with torch.inference_mode():
            if views == 5:
                return network.sliding_window(pixels, tokens, (HEIGHT, WIDTH)).argmax(dim=0)
            canvas = torch.nn.functional.interpolate(pixels[None], (384, 384), mode="bilinear", align_corners=False)
            scores = torch.nn.functional.interpolate(network(canvas, tokens), (384, 384), mode="bilinear").sigmoid()
            return torch.nn.functional.interpolate(scores, (HEIGHT, WIDTH), mode="bilinear")[0].argmax(dim=0)

    return run


def as_released(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """``run`` with glibc's allocator as it is without our settings, which :func:`as_shipped` puts back.

    Left alone, glibc raises its thresholds with the first large blocks that are freed and stops at 32 MiB for blocks
    mapped one by one and at twice that for the free end of the heap: these values are set here, and what the heap holds
    back for later is given to the system first, as a process without our settings would have done. Blocks that lie free
    inside the heap are taken again all the same: that can only spare ``run`` time.
    """

    def changed() -> Tensor:
        allocator_thresholds(32 << 20, 64 << 20)
        ctypes.CDLL(None).malloc_trim(0)
        return run()

    return changed


def as_shipped(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """``run`` with the allocator as :func:`repro.runtime.prepare` leaves it."""

    def changed() -> Tensor:
        keep_memory()
        return run()

    return changed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["ours", "reference", "disa"])
    parser.add_argument("size", choices=["B", "tower"])
    parser.add_argument("classes", type=int)
    parser.add_argument("--pad-len", type=int, default=256)
    parser.add_argument("--views", type=int, choices=[1, 5], default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--glibc", action="store_true", help="leave the allocator as it is")
    args = parser.parse_args()
    classes = names(args.classes)
    method: Method
    if args.what == "disa":
        torch.manual_seed(0)
        method = DiSa(tower(args.size)).eval()
    else:
        method = catseg(args.size, args.pad_len)
    if args.what == "reference":
        assert isinstance(method, CatSeg)
        run = theirs(reference(method, classes), args.views)
    else:
        run = ours(method, classes, args.views)
    if args.what != "reference":
        with torch.no_grad():
            method.clip.text(classes, "A photo of a {}" if args.what == "disa" else "A photo of a {} in the scene")
    before = peak_mib()
    seconds = []
    for _ in range(args.rounds):
        begin = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            run()
        seconds.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    print(json.dumps({"seconds": seconds, "before_mib": before, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
