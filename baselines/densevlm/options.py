"""Options of the alignment: the paper's values are the defaults, those of the released code a preset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from repro.errors import UsageError


@dataclasses.dataclass(frozen=True)
class DenseVLMOptions:
    """One alignment. Sections are the paper's; what it leaves open is as in the released code (docs/specs/densevlm.md).

    ``iterations`` 0 stands for ``epochs`` over the images; batches are those of one process.
    """

    image_size: int = 512
    """Side in pixels of the frame images are shown in (Sec. 4.1)."""
    max_split: int = 6
    """Largest number of rows and of columns of the grid of regions (Sec. 3.2)."""
    categories: str = "densevlm316"
    """Category set: coco133, coco_stuff171, densevlm273 or densevlm316 (Table 4)."""
    templates: tuple[str, ...] = ()
    """Prompts with ``{}`` (and ``{article}``); empty: the 63 of ViLD."""
    threshold: float = 0.3
    """Regions whose retrieved category is not more probable than this are left out (Sec. 3.2)."""
    temperature: float | Literal["tower"] = 0.01
    """Divides the cosines of both models (Eq. 1); ``tower``: each by the one it was trained with, which is 0.01 for
    OpenAI's and EVA's and not for every CLIP."""
    teacher: Literal["tower", "labels"] = "tower"
    """Who names the regions: the powerful model, or, as a control, the labels of the images (not the paper's)."""
    accept_weak_teacher: bool = False
    """Go on where the powerful model names labelled regions of the images no better than the model it is to teach."""
    thing_classes: Literal["things", "all"] = "things"
    """Which categories the distributions of a thing region are over (Eq. 4 and Table 3)."""
    stuff_classes: Literal["all", "stuff"] = "all"
    """The same for a stuff region (Eq. 3 and Table 3)."""
    reduction: Literal["image", "group"] = "image"
    """Mean over the regions of each image, then over images (Eq. 5); or over all things of a batch plus all stuff."""
    unit_text: bool = True
    """Whether the mean text embedding of a category is brought to unit length."""
    last_thing_is_stuff: bool = False
    """Whether the last thing of the set counts as stuff: the released code takes 203 of 204 things."""
    average_gradients: bool = True
    """Whether processes train one model together; else each trains its own and the first one's is kept."""
    blocks: int = 12
    """How many of the last image blocks train (all of ViT-B/16; stages for ConvNeXt)."""
    mixing: float = 0.9
    """Share of the trained weights in the result, the rest are the original ones (released code)."""
    epochs: int = 6
    iterations: int = 0
    batch_size: int = 16
    lr: float = 1e-5
    weight_decay: float = 0.1
    warmup_iterations: int = 1000
    amp: Literal["off", "bf16", "fp16"] = "fp16"
    """Precision on a GPU; a CPU computes in float32."""
    workers: int = 4
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        faults = {
            "max_split must be 2 or more": self.max_split < 2,
            "mixing must lie in 0..1": not 0 <= self.mixing <= 1,
            "threshold must lie in 0..1": not 0 <= self.threshold < 1,
            "temperature must be positive or 'tower'": self.temperature != "tower" and self.temperature <= 0,
            "teacher='labels' needs categories='coco_stuff171', the classes of the labels": self.teacher == "labels"
            and self.categories != "coco_stuff171",
            "image_size, batch_size, blocks and checkpoint_every must be positive": min(
                self.image_size, self.batch_size, self.blocks, self.checkpoint_every
            )
            < 1,
            "epochs or iterations must be positive": max(self.epochs, self.iterations) < 1,
        }
        for fault, found in faults.items():
            if found:
                raise UsageError(f"options of densevlm: {fault}", found=self, mend="correct the recipe of the tower")


AS_RELEASED: Mapping[str, Any] = {
    "last_thing_is_stuff": True,
    "unit_text": False,
    "reduction": "group",
    "average_gradients": False,
}
"""What the released code does differently: thing boundary 203, text means that are not normalised, group means, and a
model wrapped for distributed training but called in a way that never averages its gradients."""

WITHOUT_EFFECT = ("workers", "checkpoint_every")
"""Options that change how fast or safely a training runs, not what comes out of it."""
