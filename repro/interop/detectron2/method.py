"""A model of detectron2 as a method of ours: ``repro eval detectron2 -o config=FILE -o checkpoint=FILE``."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from torch import Tensor

from repro.announced import load
from repro.errors import UsageError, command
from repro.interop.adapters import Detectron2Model
from repro.interop.closed import ClosedMethod, fill, read_checkpoint

_EDGE = 1e-6
"""How near to 0 and 1 probabilities are taken, whose logits are infinite there."""


class Detectron2Method(ClosedMethod):
    """Any architecture that returns ``sem_seg``, under our protocol: its own normalisation of pixels, our windows."""

    def __init__(self, options: Detectron2Model, model: Any, names: list[str], pixel_format: str) -> None:
        super().__init__(options, names)
        self.model, self.reversed = model, pixel_format == "BGR"
        self.probabilities = options.outputs == "probabilities"
        if self.probabilities:
            self.activation = "sigmoid"

    def every_class(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        pixels = images.flip(1) if self.reversed else images
        found = self.model([{"image": image, "height": height, "width": width} for image in pixels])
        if not all("sem_seg" in each for each in found):
            raise UsageError(
                f"{type(self.model).__name__} returns no semantic segmentation",
                expected="sem_seg of each image",
                found=", ".join(found[0]) or "nothing",
                mend="name a configuration whose model does: SemanticSegmentor, PanopticFPN, MaskFormer with its "
                "semantic head on",
            )
        maps = torch.stack([each["sem_seg"] for each in found])
        return torch.logit(maps.clamp(_EDGE, 1 - _EDGE)) if self.probabilities else maps


def build(clip: object, options: Detectron2Model) -> Detectron2Method:
    """Build the model of ``options.config`` with the weights of ``options.checkpoint``; the tower ``clip`` is not used.

    Raises UsageError for a configuration with keys that nothing has added, WeightsError for weights that do not fit.
    """
    del clip
    config, checkpoint = options.files()
    cfg = get_cfg()
    for function in filter(None, options.setup.split(",")):
        load(function)(cfg)
    try:
        cfg.merge_from_file(str(config), allow_unsafe=False)
        cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = "", "cpu"
        model = build_model(cfg)
    except (KeyError, AssertionError, ValueError) as error:
        raise UsageError(
            f"{config} names what this detectron2 does not know",
            expected="keys and an architecture that are registered",
            found=error,
            mend=f"name the function of its project that adds them: {command('-o', 'setup=package.module:add_config')}",
        ) from error
    state, _ = read_checkpoint(checkpoint, "model")
    fill(model, state, checkpoint, config)
    names = options.class_names(_names(cfg))
    return Detectron2Method(options, model.eval().requires_grad_(False), names, cfg.INPUT.FORMAT)


def _names(cfg: Any) -> list[str] | None:
    """Return the classes of the first data set of the configuration that has some."""
    for name in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        if name in MetadataCatalog.list() and (listed := MetadataCatalog.get(name).get("stuff_classes", None)):
            return list(map(str, listed))
    return None
