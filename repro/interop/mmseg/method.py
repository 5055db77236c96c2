"""A model of mmsegmentation as a method of ours: ``repro eval mmseg -o config=FILE -o checkpoint=FILE``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from mmseg.utils import register_all_modules
from torch import Tensor

from repro.errors import UsageError
from repro.interop.adapters import MmsegModel
from repro.interop.closed import ClosedMethod, fill, read_checkpoint


class MmsegMethod(ClosedMethod):
    """Any segmentor of mmsegmentation under our protocol: its own preprocessing of pixels, our windows.

    ``model`` gives logits at the size of a view (``encode_decode``); its test pipeline and its own sliding window are
    not used.
    """

    def __init__(self, options: MmsegModel, model: Any, names: list[str]) -> None:
        super().__init__(options, names)
        self.model = model

    def every_class(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        meta: dict[str, Any] = {
            "ori_shape": (height, width),
            "img_shape": (height, width),
            "pad_shape": (height, width),
        }
        meta |= {"padding_size": [0, 0, 0, 0], "flip": False}
        logits: Tensor = self.model.encode_decode(self._pixels(images), [dict(meta) for _ in images])
        return logits

    def _pixels(self, images: Tensor) -> Tensor:
        """Return ``images`` as the model's preprocessor makes them of the BGR pixels that mmsegmentation reads."""
        own = self.model.data_preprocessor
        if not own._channel_conversion:
            images = images.flip(1)
        return (images - own.mean) / own.std if own._enable_normalize else images


def build(clip: object, options: MmsegModel) -> MmsegMethod:
    """Build the model of ``options.config`` with the weights of ``options.checkpoint``; the tower ``clip`` is not used.

    Weights that the configuration names elsewhere (``pretrained``, ``init_cfg``) are not fetched. Raises UsageError for
    a model without the parts of a segmentor or without names of classes, WeightsError for weights that do not fit.
    """
    del clip
    config, checkpoint = options.files()
    register_all_modules(init_default_scope=False)
    parsed = Config.fromfile(config)
    init_default_scope(parsed.get("default_scope", "mmseg"))
    model = MODELS.build(_without_weights(parsed.get("model", {})))
    if not hasattr(model, "encode_decode") or getattr(model, "out_channels", 2) == 1:
        raise UsageError(
            f"the model of {config} gives no map per class",
            expected="a segmentor with encode_decode and two channels or more",
            found=f"{type(model).__name__} with {getattr(model, 'out_channels', 'no')} channels",
            mend="evaluate it with mmsegmentation and score what it predicts: docs/predictions.md",
        )
    state, whole = read_checkpoint(checkpoint, "state_dict")
    fill(model, state, checkpoint, config)
    names = options.class_names(_names(whole, parsed))
    return MmsegMethod(options, model.eval().requires_grad_(False), names)


def _without_weights(model: Any) -> Any:
    """Return the configuration of a model that fetches nothing when it is built."""
    if isinstance(model, Mapping):
        kept = {k: _without_weights(v) for k, v in model.items() if k != "init_cfg" or not _fetches(v)}
        return ConfigDict({k: None if k == "pretrained" else v for k, v in kept.items()})
    return type(model)(map(_without_weights, model)) if isinstance(model, list | tuple) else model


def _fetches(init: Any) -> bool:
    every = init if isinstance(init, list | tuple) else [init]
    return any(isinstance(each, Mapping) and each.get("type") in ("Pretrained", "PretrainedInit") for each in every)


def _names(checkpoint: Mapping[str, Any], config: Config) -> list[str] | None:
    """Return the classes that a checkpoint names, else those of the data set of its configuration."""
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    inner = meta.get("dataset_meta")
    for facts in (inner if isinstance(inner, Mapping) else {}, meta):
        for key in ("classes", "CLASSES"):
            if facts.get(key):
                return list(map(str, facts[key]))
    for loader in ("test_dataloader", "val_dataloader", "train_dataloader"):
        data_set = config.get(loader, {}).get("dataset", {}) if config.get(loader) else {}
        while isinstance(data_set.get("dataset"), Mapping):
            data_set = data_set["dataset"]
        if listed := (data_set.get("metainfo") or {}).get("classes"):
            return list(map(str, listed))
        kind = data_set.get("type")
        known = DATASETS.get(kind) if isinstance(kind, str) else kind
        if classes := getattr(known, "METAINFO", {}).get("classes"):
            return list(map(str, classes))
    return None
