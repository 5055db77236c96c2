"""Options of the alignment: the paper's values are the defaults, those of the released code a preset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from repro.methods.options import check_options
from repro.values import Count, Number, Positive, Share, Weight


@dataclasses.dataclass(frozen=True)
class DenseVLMOptions:
    """One alignment. Sections are the paper's; what it leaves open is as in the released code (docs/specs/densevlm.md).

    ``iterations`` 0 stands for ``epochs`` over the images; batches are those of one process.
    """

    image_size: Count = 512
    """Side in pixels of the frame images are shown in (Sec. 4.1)."""
    max_split: Annotated[int, Ge(2)] = 6
    """Largest number of rows and of columns of the grid of regions (Sec. 3.2)."""
    categories: str = "densevlm316"
    """Category set: coco133, coco_stuff171, densevlm273 or densevlm316 (Table 4)."""
    templates: tuple[str, ...] = ()
    """Prompts with ``{}`` (and ``{article}``); empty: the 63 of ViLD."""
    threshold: Annotated[float, Ge(0), Lt(1)] = 0.3
    """Regions whose retrieved category is not more probable than this are left out (Sec. 3.2)."""
    temperature: Positive | Literal["tower"] = 0.01
    """Divides the cosines of both models (Eq. 1); ``tower``: each by the one it was trained with, which is 0.01 for
    OpenAI's and EVA's and not for every CLIP."""
    teacher: Literal["tower", "labels"] = "tower"
    """Who names the regions: the powerful model, or, as a control, the labels of the images (not the paper's)."""
    accept_weak_teacher: bool = False
    """Go on where the powerful model names labelled regions of the images no better than the model it is to teach."""
    objective: Literal["decoupled", "logits", "features"] = "decoupled"
    """What brings the models together (Table 2): the decoupled alignment; the KL divergence over all categories for
    every region; or the cosine of the regions' features behind a learned linear map. The latter two know no threshold
    and no kinds."""
    projection: Literal["text", "random"] = "text"
    """Where the map of ``features`` begins: with what brings the categories' names as the trained model encodes them
    nearest to the powerful one's; or anywhere, from where the features drift away from the text they are named by."""
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
    blocks: Count = 12
    """How many of the last image blocks train (all of ViT-B/16; stages for ConvNeXt)."""
    mixing: Share = 0.9
    """Share of the trained weights in the result, the rest are the original ones (released code)."""
    image_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the images that is aligned on, drawn at random (Figure 6). ``epochs`` are passes over what is drawn."""
    epochs: Number = 6
    iterations: Number = 0
    batch_size: Count = 16
    lr: Weight = 1e-5
    weight_decay: Weight = 0.1
    warmup_iterations: Number = 1000
    amp: Literal["off", "bf16", "fp16"] = "fp16"
    """Precision on a GPU; a CPU computes in float32."""
    workers: Number = 4
    checkpoint_every: Count = 500

    def __post_init__(self) -> None:
        labels = self.teacher != "labels" or self.categories == "coco_stuff171"
        checks = {
            "categories": (labels, "coco_stuff171 with teacher='labels', the classes of the labels"),
            "objective": (
                self.teacher != "labels" or self.objective != "features",
                "decoupled or logits with teacher='labels', which have no features",
            ),
            "epochs": (max(self.epochs, self.iterations) >= 1, "1 or more, or iterations of 1 or more"),
        }
        check_options("densevlm", self, checks, mend="correct the recipe of the tower")


AS_RELEASED: Mapping[str, Any] = {
    "last_thing_is_stuff": True,
    "unit_text": False,
    "reduction": "group",
    "average_gradients": False,
}
"""What the released code does differently: thing boundary 203, text means that are not normalised, group means, and a
model wrapped for distributed training but called in a way that never averages its gradients."""

LATER: Mapping[str, Any] = {"objective": "decoupled", "projection": "text", "image_share": 1.0}
"""Options that came after towers were made, and the values that mean what was done before: not part of what a tower is
known by."""

READINGS: Sequence[Mapping[str, Any]] = (
    {"objective": "logits"},
    {"objective": "features"},
    {"objective": "features", "projection": "random"},
    {"thing_classes": "all"},
    {"stuff_classes": "stuff"},
    {"reduction": "group"},
    {"unit_text": False},
    {"last_thing_is_stuff": True},
)
"""Every choice of an option that changes what is computed on one machine from images alone."""

WITHOUT_EFFECT = ("workers", "checkpoint_every")
"""Options that change how fast or safely a training runs, not what comes out of it."""
