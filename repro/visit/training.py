"""What a training step takes, with and without deterministic kernels, and whether a training gives the same bits twice.

    python -m repro.visit.training --out FILE.json [--deterministic] [--device cuda] [--quick]

A process of its own for each, because cuBLAS reads its environment once. ``repro bench --visit`` runs both.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.clip.text_cache import weights_digest
from repro.clock import StageClock
from repro.console import log
from repro.cost.bench import DONE, FAILED, Subject
from repro.cost.timing import forget_peak, peak_mib
from repro.datasets.vocabulary import load_vocabulary
from repro.errors import ReproError
from repro.files import write_json
from repro.methods.speedups import float32_products
from repro.training.determinism import deterministic
from repro.visit.parts import part_parser
from repro.visit.sections import Visit

BATCH, WARMUP, STEPS = 4, 5, 20
"""Crops a step (the published batch), steps to warm up, steps that are timed."""


def training(it: Visit, wanted: bool) -> list[dict[str, Any]]:
    """Return a record for every method with weights to train, on the first tower."""
    vocabulary = load_vocabulary("coco_stuff171").prompts
    classes = vocabulary[:4] if it.quick else vocabulary
    records, batch = [], 2 if it.quick else BATCH
    for subject in it.subjects([it.small]):
        about = {
            "method": subject.entry.name,
            "title": subject.entry.title,
            "clip": subject.clip,
            "deterministic": wanted,
            "classes": len(classes),
            "batch": batch,
            "crop": it.protocol.window,
        }
        log(f"training {subject.entry.title}{', deterministic' if wanted else ''}")
        try:
            found = measure(subject, list(classes), batch, it, wanted)
        except (ReproError, RuntimeError) as error:
            records.append({**about, "status": FAILED, "error": str(error)})
            continue
        if found is not None:
            records.append({**about, "status": DONE, **found})
    return records


def measure(subject: Subject, classes: list[str], batch: int, it: Visit, wanted: bool) -> dict[str, Any] | None:
    """Measure seconds of the steps of two trainings from one seed, peak memory, and whether both end in equal bits.

    None for a method that does not train.
    """
    warmup, steps = (1, 1) if it.quick else (WARMUP, STEPS)
    clock, digests, seconds, losses = StageClock(it.device), [], [], []
    with float32_products(tf32=False), deterministic(wanted):
        for _ in range(2):
            torch.manual_seed(0)
            method = subject.build().to(it.device).train()
            if not any(p.requires_grad for p in method.parameters()):
                return None
            optimiser = torch.optim.AdamW(method.param_groups(2e-4, 1e-4), fused=True)
            trained = [p for group in optimiser.param_groups for p in group["params"]]
            forget_peak(it.device, free=True)
            for step in range(warmup + steps):
                images, labels = crops(step, batch, it.protocol.window, len(classes), it.device)
                torch.manual_seed(step)
                with clock("step"):
                    values = method.loss(images, labels, classes)
                    loss = torch.stack([v for k, v in values.items() if k.startswith("loss")]).sum()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(trained, 0.01)
                    optimiser.step()
                    optimiser.zero_grad()
                taken = clock.seconds.pop("step")
                if step >= warmup:
                    seconds.append(taken)
            losses.append(float(loss.detach()))
            digests.append(weights_digest(trained))
    return {
        "seconds": seconds,
        "median": statistics.median(seconds),
        "peak_memory_mib": peak_mib(it.device),
        "losses": losses,
        "same_bits": digests[0] == digests[1],
    }


def crops(step: int, batch: int, side: int, classes: int, device: str) -> tuple[Tensor, Tensor]:
    """Draw noise (B, 3, side, side), 0..255, and labels (B, side, side) in blocks, a twelfth of them ignored."""
    generator = torch.Generator().manual_seed(step)
    images = 255 * torch.rand(batch, 3, side, side, generator=generator)
    blocks = torch.randint(0, classes, (batch, 1, 12, 12), generator=generator).float()
    blocks[:, :, 0] = 255
    labels = F.interpolate(blocks, (side, side), mode="nearest")[:, 0].long()
    return images.to(device), labels.to(device)


def main() -> None:
    """Measure and write the records."""
    parser = part_parser(__doc__)
    parser.add_argument("--deterministic", action="store_true")
    options = parser.parse_args()
    it = Visit(options.device, options.quick, float("inf"))
    write_json(options.out, training(it, options.deterministic))


if __name__ == "__main__":
    main()
