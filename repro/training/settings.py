"""What a training run is told, as plain data (no torch), so that plans and hashes can be made from it cheaply."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from repro.values import Count, Number, Positive, Share, Weight


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """One training; the defaults are CAT-Seg's published recipe (docs/specs/catseg.md, ViT-B/16 and ViT-L/14).

    Lengths in iterations, sizes in pixels. ``lr`` is of new modules; ``param_groups`` lowers it for CLIP.
    """

    iterations: Count = 80_000
    batch_size: Count = 4
    lr: Weight = 2e-4
    weight_decay: Weight = 1e-4
    warmup_iterations: Number = 0
    clip_grad_norm: Weight = 0.01
    short_side: Count = 384
    crop: Count = 384
    cat_max_ratio: Positive = 1.0
    """Crops in which one category covers more than this share are redrawn (1.0 accepts every crop)."""
    classes_per_step: Number = 0
    """0: the loss is over the whole vocabulary, as published. Otherwise over the classes of the crops and a random
    sample of the others, this many in all: far cheaper steps where time is short (the miniature)."""
    average_from: Share = 1.0
    """The weights are the mean over the iterations after this share of them (:mod:`.average`); 1.0: the last ones."""
    amp: Literal["off", "bf16", "fp16"] = "off"
    workers: Number = 4
    checkpoint_every: Count = 5_000
    log_every: Count = 50

    def facts(self) -> dict[str, Any]:
        """Return what a run's address holds of them: a setting that came later is left out where it is off, so that
        what was trained before it existed is still found."""
        values = dataclasses.asdict(self)
        if self.average_from >= 1:
            del values["average_from"]
        return values


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a training is fitted to a machine: it changes losses by rounding only and is not part of a run's address."""

    accumulate: int = 1
    """Parts the batch of a process goes through the method in, one after the other, before a step."""
    checkpoint_activations: bool = False
    """Compute the activations of each block again in the backward pass instead of keeping them."""
    deterministic: bool = False
    """Only kernels that give the same bits every time."""
    compile: bool = False
    """The losses through torch.compile; for steps over the whole vocabulary, whose names never change."""
    channels_last: bool = False
    """Weights of convolutions in that layout."""
    vis_backends: tuple[str, ...] | None = None
    """Where the curve goes beside its files (:mod:`.boards`); None: TensorBoard, where it is installed."""
