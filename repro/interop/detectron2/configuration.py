"""The keys of our method in a yacs configuration, and the values of a profile in those of detectron2."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode

from repro.configuration.profiles import load_profile
from repro.datasets.data_set import VOID
from repro.requests import UNTRAINED


def add_repro_config(cfg: Any, method: str = "", profile: str = "mini") -> None:
    """Add ``MODEL.REPRO`` to ``cfg`` and fill it, ``INPUT`` and ``SOLVER`` with what ``profile`` says of ``method``.

    ``MODEL.REPRO`` holds METHOD, PROFILE, TOWER, SEED, RUNS, OPTIONS (a list ``[name, value, ..]``), WEIGHTS (a file,
    "none" for the method before its training, "own" for what the store has), CLASSES (the id of the set that is
    evaluated, "" for that of the images) and OUTPUT: "labels", what ``repro eval`` predicts, or "scores" in 0..1.
    """
    cfg.MODEL.META_ARCHITECTURE = "ReproMethod"
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.MODEL.WEIGHTS = ""
    own = cfg.MODEL.REPRO = CfgNode()
    own.METHOD, own.PROFILE, own.TOWER, own.SEED = method, profile, "base", 0
    own.OPTIONS, own.RUNS, own.WEIGHTS = [], "", UNTRAINED
    own.CLASSES, own.TRAIN_CLASSES, own.OUTPUT = "", "", "labels"
    chosen = load_profile(profile)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = chosen.protocol.short_side, chosen.protocol.max_long_side
    cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE = VOID
    if method:
        train = chosen.train_settings(method)
        cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.CROP.ENABLED = (train.short_side,), True
        cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "absolute", [train.crop, train.crop]
        cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = float(train.lr), float(train.weight_decay)
        cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = train.iterations, train.warmup_iterations
        cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS = train.batch_size, train.workers
        cfg.SOLVER.CHECKPOINT_PERIOD, cfg.TEST.EVAL_PERIOD = train.checkpoint_every, 0
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED = train.clip_grad_norm > 0
        cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "norm"
        cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = float(train.clip_grad_norm)
