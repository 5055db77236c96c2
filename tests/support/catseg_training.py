"""A training step of CAT-Seg, ours or the spelled-out reference's, at published sizes, in a process of its own.

    python tests/support/catseg_training.py {ours,reference} {B,tower} CLASSES [--rounds N] [--threads N] [--glibc]

One image of 384 x 384: loss and gradients of all that trains. Prints seconds, memory, loss and the gradient's norm.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable

from repro.runtime import import_torchvision, prepare

if "--glibc" not in sys.argv:
    prepare()

import catseg_pair
import torch
from catseg_official import official_name, to_official
from catseg_reference import VIT_B, CatSegReference
from peak_memory import peak_mib
from torch import Tensor


def batch(classes: int, side: int = 384) -> tuple[Tensor, Tensor]:
    """One image (1, 3, S, S) and its labels (1, S, S), a part of them ignored."""
    draw = torch.Generator().manual_seed(0)
    image = torch.nn.functional.interpolate(255 * torch.rand(1, 3, 8, 8, generator=draw), (side, side), mode="bicubic")
    labels = torch.randint(0, classes, (1, 12, 12), generator=draw).repeat_interleave(side // 12, 1)
    labels = labels.repeat_interleave(side // 12, 2)
    labels[:, : side // 8] = 255
    return image.clamp(0, 255), labels


def steps(what: str, size: catseg_pair.Size, classes: int) -> Callable[[], tuple[float, float]]:
    """What takes a step and returns the loss and the norm of the gradient."""
    method = catseg_pair.catseg(size).train()
    names, (image, labels) = catseg_pair.names(classes), batch(classes)
    trained = {official_name(n): p for n, p in method.named_parameters() if p.requires_grad}
    if what == "ours":

        def ours() -> tuple[float, float]:
            method.zero_grad()
            loss = method.loss(image, labels, names)["loss_bce"]
            loss.backward()
            return float(loss), norm(p.grad for p in trained.values())

        return ours
    state = {n: t.detach() for n, t in to_official(method).items()}
    leaves = [state[name].requires_grad_() for name in trained]
    shape = dataclasses.replace(VIT_B, pooling=(2, 2), pad_len=method.options.pad_len)
    if size != "B":
        shape = dataclasses.replace(
            shape, resolution=method.clip.resolution, vision_heads=2, text_heads=2, guide_blocks=method.guide_blocks
        )
    network = CatSegReference(state, shape)
    import_torchvision()
    import open_clip

    tokens = open_clip.tokenize([method.options.templates[0].format(name) for name in names])[:, None]

    def theirs() -> tuple[float, float]:
        loss = network.loss(image, labels, tokens)
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        return float(loss), norm(found)

    return theirs


def norm(gradients: object) -> float:
    return float(torch.stack([g.double().norm() for g in gradients if g is not None]).norm())  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["ours", "reference"])
    parser.add_argument("size", choices=["B", "tower"])
    parser.add_argument("classes", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--glibc", action="store_true", help="leave the allocator as it is")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    step = steps(args.what, args.size, args.classes)
    before, taken = peak_mib(), []
    for _ in range(args.rounds):
        begin = time.perf_counter(), time.process_time()
        loss, gradient = step()
        taken.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    found = {"seconds": taken, "before_mib": before, "peak_mib": peak_mib(), "loss": loss, "gradient": gradient}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
