"""What DiSa's own parts cost: saliency by its closed form or by autograd, and a training step without SDM or HRM.

As a script it does one of them in a process of its own and prints CPU seconds and MiB as JSON:

    python tests/support/disa_costs.py {closed,autograd,by-class} CLASSES
    python tests/support/disa_costs.py {whole,no-sdm,no-hrm} CLASSES

DiSa has its published sizes (a map of 24 x 24, 512 channels of text and image); the image tower is a narrow one whose
time and memory hardly count.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    from repro.runtime import prepare

    prepare()

import torch
import torch.nn.functional as F
from peak_memory import peak_mib
from torch import Tensor

from disa.model import DiSa
from disa.options import DisaOptions
from disa.sdm import SaliencyModule
from repro.clip.spec import TowerSpec
from repro.clip.tower import ClipTower, build_tower

WIDTH, GRID, PATCH = 512, 24, 2
STEPS: dict[str, dict[str, Any]] = {
    "whole": {},
    "no-sdm": {"split": "none"},
    "no-hrm": {"pixel": False, "category": False, "semantic": False},
}
_TOWER = {
    "embed_dim": WIDTH,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 28, "layers": 9, "width": 32, "head_width": 16, "patch_size": PATCH},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def saliency(how: str, classes: int, layer: int = 0) -> Callable[[], Tensor]:
    """Eq. 2 of one image for ``classes`` classes at ``layer``, matching included: (1, N, L)."""
    torch.manual_seed(0)
    o = DisaOptions()
    module = SaliencyModule(WIDTH, o.sdm_layers, o.sdm_head_dim, o.sdm_mlp_ratio)
    text, image = WIDTH**0.5 * F.normalize(torch.randn(classes, WIDTH), dim=-1), torch.randn(1, GRID**2, WIDTH)

    def closed() -> Tensor:
        with torch.inference_mode():
            return module.saliency(module(text, image), layer, "margin")

    def autograd() -> Tensor:
        """A backward pass from the summed margins: a class's attention reaches its own margin alone."""
        found = module(text, image)
        attention = found.layers[layer].attention
        (gradient,) = torch.autograd.grad((found.logits[..., 1] - found.logits[..., 0]).sum(), attention)
        return (F.relu(gradient) * attention.detach()).mean(dim=1)

    def by_class() -> Tensor:
        """A backward pass from the margin of each class, as Grad-CAM is written."""
        found = module(text, image)
        attention = found.layers[layer].attention
        margins = (found.logits[..., 1] - found.logits[..., 0])[0]
        maps = []
        for number, margin in enumerate(margins):
            (gradient,) = torch.autograd.grad(margin, attention, retain_graph=True)
            maps.append((F.relu(gradient[:, :, number]) * attention[:, :, number].detach()).mean(dim=1))
        return torch.stack(maps, dim=1)

    return {"closed": closed, "autograd": autograd, "by-class": by_class}[how]


def small_tower() -> ClipTower:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "open_clip_config.json").write_text(json.dumps({"model_cfg": _TOWER}))
        return build_tower(TowerSpec(model=folder, weights=None, resolution=GRID * PATCH))


def training_step(which: str, classes: int) -> Callable[[], Tensor]:
    """A step of AdamW on one image with ``classes`` classes; returns the loss."""
    torch.manual_seed(0)
    method = DiSa(small_tower(), DisaOptions(**STEPS[which])).train()
    names = [f"thing {i}" for i in range(classes)]
    side = method.clip.resolution
    images = torch.randint(0, 256, (1, 3, side, side)).float()
    labels = torch.randint(0, classes, (1, 8, 8)).repeat_interleave(side // 8, 1).repeat_interleave(side // 8, 2)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=2e-4, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        losses = method.loss(images, labels, names)
        total = torch.stack([v for n, v in losses.items() if n.startswith("loss")]).sum()
        total.backward()
        optimizer.step()
        return total.detach()

    return step


def main() -> int:
    torch.set_num_threads(1)
    what, classes = sys.argv[1], int(sys.argv[2])
    work = training_step(what, classes) if what in STEPS else saliency(what, classes)
    before = peak_mib()
    seconds = []
    for _ in range(2):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    print(json.dumps({"before": round(before), "peak": round(peak_mib()), "seconds": round(min(seconds), 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
