"""Their trainer with our loss, optimiser, schedule and crops, and their evaluator on our labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog, build_detection_train_loader
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import SemSegEvaluator
from torch import nn

from repro.datasets.images import read_label, stored_image
from repro.training.optim import WARMUP_FACTOR, build_optimizer
from repro.training.pipeline import augment, build_pipeline
from repro.training.settings import TrainSettings


class Trainer(DefaultTrainer):
    """DefaultTrainer of a configuration that :func:`repro.interop.detectron2.add_repro_config` filled."""

    @classmethod
    def build_optimizer(cls, cfg: Any, model: Any) -> torch.optim.Optimizer:
        """Build our AdamW over the method's groups; it clips the norm of all gradients before each step."""
        settings = _settings(cfg)
        optimizer = build_optimizer(model.method, settings)
        if settings.clip_grad_norm > 0:
            optimizer.register_step_pre_hook(lambda own, *_: _clip(own, settings.clip_grad_norm))
        return optimizer

    @classmethod
    def build_lr_scheduler(cls, cfg: Any, optimizer: torch.optim.Optimizer) -> Any:
        """Build our warm-up followed by a cosine to 0, in iterations."""
        settings = _settings(cfg)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: rate(done, settings))

    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        """Build their loader over our crops; labels must have 8 bits."""
        return build_detection_train_loader(cfg, mapper=TrainMapper(_settings(cfg)))

    @classmethod
    def build_evaluator(cls, cfg: Any, dataset_name: str) -> SemSegEvaluator:
        """Build :func:`evaluator`, its predictions in OUTPUT_DIR/inference."""
        return evaluator(dataset_name, Path(cfg.OUTPUT_DIR) / "inference" / dataset_name)


class TrainMapper:
    """Reads an image and its label as our training does, and makes a crop of both."""

    def __init__(self, settings: TrainSettings) -> None:
        self.pipeline = build_pipeline(settings)

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Any]:
        image = stored_image(Path(item["file_name"]))
        label = read_label(Path(item["sem_seg_file_name"])).astype(np.uint8)
        image, label = augment(self.pipeline, image, label)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous()
        size = {"height": pixels.shape[1], "width": pixels.shape[2]}  # by which their loader groups images
        return {**item, **size, "image": pixels, "sem_seg": torch.from_numpy(label).long()}


def evaluator(name: str, output: Path | None = None) -> SemSegEvaluator:
    """Return their evaluator of a data set; it reads labels as we do: all from the ignore label on are ignored."""
    ignored = int(MetadataCatalog.get(name).ignore_label)

    def read(path: str, **_: Any) -> np.ndarray:
        return np.minimum(read_label(Path(path)).astype(int), ignored)

    return SemSegEvaluator(name, output_dir=None if output is None else str(output), sem_seg_loading_fn=read)


def rate(done: int, settings: TrainSettings) -> float:
    """Return the share of the learning rate after ``done`` iterations: repro.training.optim.build_schedulers."""
    warmup, total = settings.warmup_iterations, settings.iterations
    if done < warmup:
        return WARMUP_FACTOR + (1 - WARMUP_FACTOR) * done / max(1, warmup - 1)
    return (1 + math.cos(math.pi * min(1.0, (done - warmup) / max(1, total - warmup)))) / 2


def _settings(cfg: Any) -> TrainSettings:
    clip = cfg.SOLVER.CLIP_GRADIENTS
    return TrainSettings(
        iterations=cfg.SOLVER.MAX_ITER,
        batch_size=cfg.SOLVER.IMS_PER_BATCH,
        lr=cfg.SOLVER.BASE_LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        warmup_iterations=cfg.SOLVER.WARMUP_ITERS,
        clip_grad_norm=clip.CLIP_VALUE if clip.ENABLED else 0.0,
        short_side=cfg.INPUT.MIN_SIZE_TRAIN[0],
        crop=cfg.INPUT.CROP.SIZE[0] if cfg.INPUT.CROP.ENABLED else cfg.INPUT.MIN_SIZE_TRAIN[0],
    )


def _clip(optimizer: torch.optim.Optimizer, largest: float) -> None:
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    nn.utils.clip_grad_norm_(trained, largest)
