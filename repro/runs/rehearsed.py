"""Figures of rehearsals (:mod:`repro.rehearsal`), kept by recipe and machine: what a step and an image take here.

They lie in the run store's cache, apart from runs: a rehearsal never makes a run look done. Looking for them imports
torch only where there are figures of the recipe, because the name of the machine needs it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from repro.datasets.benchmarks import Benchmark
from repro.errors import ReproError
from repro.files import read_record, write_json
from repro.hardware import choose_device
from repro.hashing import digest
from repro.runs.addresses.judging import timed
from repro.runs.calibration import number_of_images
from repro.runs.plan import Run

FOLDER = "rehearsals"
TIMED = ("repro.training.train:train", "repro.evaluation.evaluate:evaluate")
"""Where the code begins whose time is measured."""
_NO_COST = ("iterations", "checkpoint_every", "log_every", "lr", "weight_decay", "warmup_iterations")
"""Settings of a training that do not change what a step takes."""


@cache
def machine(device: str = "auto") -> str:
    """Name what computes on ``device``: a GPU, or the CPU with its threads."""
    from repro.clock import hardware_label

    return hardware_label(choose_device(device))


def recipe_key(run: Run) -> str:
    """Identify everything that decides what a step and an image of ``run`` take: seeds and weights do not."""
    train = {k: v for k, v in run.train.facts().items() if k not in _NO_COST} if run.train else None
    facts = {
        "method": run.entry.name,
        "options": dataclasses.asdict(run.options),
        "tower": {**dataclasses.asdict(run.assets.untrained_tower(run.row.tower)), "weights": None},
        "train": train,
        "protocol": dataclasses.asdict(run.profile.protocol),
    }
    return digest(facts, 16)


def rehearsed(run: Run, device: str = "auto") -> dict[str, Any] | None:
    """Return what was measured of the recipe of ``run`` on this machine; None where it was not rehearsed here.

    ``hardware`` and ``date``; ``training``, None or seconds of a step and memory; ``images``, by benchmark.
    """
    folder = run.assets.store.cache / FOLDER
    if not folder.is_dir() or not any(folder.glob(f"{run.entry.name}-*.json")):
        return None
    with contextlib.suppress(OSError, ReproError):  # what cannot be read is measured again
        return read_record(_file(run, machine(device)), "hardware", "date", "training", "images")
    return None


def keep(run: Run, hardware: str, figures: Mapping[str, Any]) -> None:
    """Keep ``figures`` of the recipe of ``run``; what they do not measure anew stays as it was."""
    path = _file(run, hardware)
    before: dict[str, Any] = {}
    with contextlib.suppress(OSError, ReproError):
        before = read_record(path, "training", "images")
    training = figures["training"] or before.get("training")
    images = {**before.get("images", {}), **figures["images"]}
    write_json(path, {"hardware": hardware, "date": figures["date"], "training": training, "images": images})


def _file(run: Run, hardware: str) -> Path:
    code = run.assets.code.source(timed(run, *TIMED)).digest
    name = f"{run.entry.name}-{digest([recipe_key(run), code, hardware], 16)}.json"
    return run.assets.store.cache / FOLDER / name


def rehearsed_training_seconds(run: Run, device: str = "auto") -> float | None:
    """Return the expected seconds of the training of ``run`` by its rehearsal; None where there is none."""
    found = rehearsed(run, device) if run.train else None
    training = found and found["training"]
    return training["seconds_per_step"] * run.train.iterations if training and run.train else None


def rehearsed_evaluation_seconds(run: Run, benchmark: Benchmark, device: str = "auto") -> float | None:
    """Return the expected seconds of an evaluation of ``run`` by its rehearsal; None where there is none."""
    found = rehearsed(run, device)
    image = found["images"].get(benchmark.id) if found else None
    if image is None:
        return None
    return float(image["seconds_per_image"]) * number_of_images(benchmark, run.assets.data_root)
