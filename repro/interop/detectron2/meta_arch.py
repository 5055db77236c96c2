"""Any method of ours as an architecture of detectron2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn

from repro.api import load
from repro.datasets.benchmarks import get_benchmark
from repro.datasets.data_set import DataSet
from repro.datasets.listed import ListedSet
from repro.errors import UsageError
from repro.evaluation.infer import SlidingWindow, shortest_edge_size
from repro.interop.detectron2.catalogue import SET, data_set_of
from repro.methods.weights import save_weights
from repro.requests import RunRequest
from repro.training.pipeline import IGNORED

OWN = "own"


@META_ARCH_REGISTRY.register()
class ReproMethod(nn.Module):
    """The method ``cfg.MODEL.REPRO`` names (:func:`repro.interop.detectron2.add_repro_config`).

    In training it returns the method's losses over the classes of ``DATASETS.TRAIN[0]``; else for each image
    ``sem_seg`` (N, H, W) for the N classes of its data set, whose arg-max is what ``repro eval`` predicts: ones and
    zeros, or with OUTPUT "scores" the scores. Images come at their own size or as INPUT of the profile says.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        own = cfg.MODEL.REPRO
        words: dict[str, Any] = {"profile": own.PROFILE, "tower": own.TOWER, "seed": own.SEED}
        words |= {"options": dict(zip(own.OPTIONS[::2], own.OPTIONS[1::2], strict=True))}
        words |= {"runs": Path(own.RUNS)} if own.RUNS else {}
        weights = None if own.WEIGHTS == OWN else own.WEIGHTS
        loaded = load(RunRequest(method=own.METHOD, **words), weights, device="cpu")
        self.method, self.run = loaded.method, loaded.run
        self.window = SlidingWindow(self.run.profile.protocol)
        self.reversed, self.output = cfg.INPUT.FORMAT == "BGR", own.OUTPUT
        self.named = own.CLASSES
        self.data_set = _evaluated(own.CLASSES, cfg.DATASETS.TEST)
        self.train_set = _evaluated(own.TRAIN_CLASSES, cfg.DATASETS.TRAIN[:1]) or self.data_set
        self.to(torch.device(cfg.MODEL.DEVICE))

    @property
    def device(self) -> torch.device:
        return next(self.method.parameters()).device

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> Any:
        """Return losses in training, else ``sem_seg`` of each input (``image`` (3, h, w), ``height``, ``width``)."""
        if self.training:
            return self._losses(batched_inputs)
        with torch.no_grad():
            return [{"sem_seg": self._predict(each)} for each in batched_inputs]

    def _losses(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        images = torch.stack([self._rgb(each["image"]) for each in inputs]).to(self.device).float()
        labels = torch.stack([each["sem_seg"] for each in inputs]).to(self.device).long()
        if self.train_set is None:
            raise UsageError(
                "the classes of the training are not named",
                mend="cfg.DATASETS.TRAIN, or cfg.MODEL.REPRO.TRAIN_CLASSES = 'coco-stuff'",
            )
        classes = self.train_set.prompt_names()
        values = self.method.loss(images, labels.masked_fill(labels >= len(classes), IGNORED), classes)
        if has_event_storage():  # their trainer minimises the sum of all that is returned
            for name, value in values.items():
                if not name.startswith("loss"):
                    get_event_storage().put_scalar(name, float(value))
        return {name: value for name, value in values.items() if name.startswith("loss")}

    def _predict(self, item: Mapping[str, Any]) -> Tensor:
        data_set = get_benchmark(item[SET]) if SET in item and not self.named else self.data_set
        if data_set is None:
            raise UsageError(
                "the classes to segment are not named",
                mend="cfg.DATASETS.TEST, or cfg.MODEL.REPRO.CLASSES = 'A-150'",
            )
        prompts = self.method.prompts(data_set.prompt_names(), data_set.background_index)
        pixels = self._rgb(item["image"]).permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        size = int(item.get("height", pixels.shape[0])), int(item.get("width", pixels.shape[1]))
        (logits,) = self.window.logits(self.method, [self._resized(pixels, size)], prompts)
        last, count = data_set.background_index, data_set.num_classes
        if self.output == "labels":
            labels = torch.from_numpy(self.window.labels(self.method, logits, size, last).astype(np.int64))
            return F.one_hot(labels.to(self.device), count).permute(2, 0, 1).to(torch.uint8)
        scores = torch.cat([chunk for _, chunk in self.window.score_chunks(self.method, logits, size)])
        if last is None:
            return scores
        rest = scores[last:].amax(0, keepdim=True) if len(scores) > last else torch.zeros_like(scores[:1])
        return torch.cat([scores[:last], rest])

    def _rgb(self, image: Tensor) -> Tensor:
        return image.flip(0) if self.reversed else image

    def _resized(self, pixels: np.ndarray, own: tuple[int, int]) -> np.ndarray:
        """Return an image as the protocol resizes it; UsageError where something else was done to it."""
        protocol = self.window.protocol
        asked = shortest_edge_size(*own, protocol.short_side, protocol.max_long_side)
        if pixels.shape[:2] == asked:
            return pixels
        if pixels.shape[:2] == own:
            return self.window.resize(pixels)
        raise UsageError(
            "the image was resized otherwise than the protocol of the profile does",
            expected=f"{asked[0]}x{asked[1]}, or its own {own[0]}x{own[1]}",
            found=f"{pixels.shape[0]}x{pixels.shape[1]}",
            mend=f"cfg.INPUT.MIN_SIZE_TEST = {protocol.short_side}, cfg.INPUT.MAX_SIZE_TEST = {protocol.max_long_side}",
        )

    def save_method(self, path: Path | str) -> Path:
        """Write the weights as a file of ours: ``repro eval METHOD --weights PATH``."""
        save_weights(self.method, Path(path), self.run.entry.name)
        return Path(path)


def _evaluated(named: str, listed: Sequence[str]) -> DataSet | None:
    """Return the data set whose classes are asked for where an image does not say of which it is; None for none."""
    if named:
        return get_benchmark(named)
    known = [data_set_of(name) for name in listed if name in DatasetCatalog.list()]
    if len({data_set.id for data_set in known if isinstance(data_set, ListedSet)}) > 1:
        raise UsageError(
            "several data sets of other code have classes of their own",
            expected="one of them in cfg.DATASETS.TEST",
            found=", ".join(listed),
            mend="evaluate them one after the other: evaluate_catalogue(METHOD, NAME)",
        )
    others = [data_set for data_set in known if isinstance(data_set, ListedSet)]
    return next(iter([*others, *known]), None)
