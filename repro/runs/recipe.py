"""What a plan will do, in words a person can check against a paper: schedule, learning rates, hours, memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repro.cost.estimate import Estimate, estimate_training
from repro.runs.counted import counted
from repro.runs.plan import Plan, Run
from repro.runs.rehearsed import rehearsed
from repro.training.settings import TrainSettings

CLASSES = 171
"""Of COCO-Stuff, on which the methods are trained."""
GPU_RATE_TMACS = 10.0
"""Multiply-adds per second, in 1e12, that a recent data-centre GPU is assumed to sustain in mixed precision."""


def recipe_lines(plan: Plan, device: str = "auto") -> list[str]:
    """Return one block of lines for each run that trains, each figure with how it is known.

    Hours and memory are those of the rehearsal on ``device`` (:mod:`.rehearsed`), else they are counted.
    """
    lines: list[str] = []
    for run in plan.runs:
        if run.train is None:
            continue
        lines += ["", f"Recipe of {run.row.title} on {run.tower.title}, seed {run.seed} ({run.id})"]
        lines += [f"  {line}" for line in _schedule(run, run.train)]
        if plan.profile.comparable:
            lines += [f"  {line}" for line in _cost(run, run.train, device)]
    return lines


def _schedule(run: Run, t: TrainSettings) -> list[str]:
    multiplier = getattr(run.options, "clip_lr_factor", None)
    clip = f", CLIP {t.lr * multiplier:g}" if multiplier is not None else ""
    part = f", {t.classes_per_step} classes a step (published: all)" if t.classes_per_step else ""
    mean = f", weights averaged over the last {1 - t.average_from:.0%} of iterations" if t.average_from < 1 else ""
    return [
        f"{t.iterations:,} iterations of batch {t.batch_size}, crops {t.crop} of shorter side {t.short_side}{part}",
        f"AdamW, learning rate {t.lr:g}{clip}, weight decay {t.weight_decay:g}, cosine after {t.warmup_iterations} "
        f"warm-up iterations, gradient norm clipped to {t.clip_grad_norm:g}, amp {t.amp}{mean}",
    ]


def counted_training(run: Run, t: TrainSettings) -> Estimate:
    """Count a training step of ``run`` by the settings ``t``, once per recipe and state of the code."""

    classes = min(t.classes_per_step or CLASSES, CLASSES)

    def count() -> Estimate:
        spec = run.assets.untrained_tower(run.row.tower)
        return estimate_training(run.entry, spec, run.options, t, num_classes=classes)

    asked = {"batch": t.batch_size, "crop": t.crop, "classes": classes}
    return counted(run, "repro.cost.estimate:estimate_training", asked, Estimate, count)


def _cost(run: Run, t: TrainSettings, device: str) -> list[str]:
    e = counted_training(run, t)
    size = (
        f"{e.parameters / 1e6:.1f} M parameters, {e.trained_parameters / 1e6:.1f} M trained; "
        f"{e.forward_gmacs:,.0f} G multiply-adds a forward step (counted)"
    )
    found = rehearsed(run, device)
    if found and found["training"]:
        return [size, *_rehearsed_cost(found, t)]
    hours = 3 * e.forward_gmacs * 1e9 * t.iterations / (GPU_RATE_TMACS * 1e12) / 3600
    return [
        size,
        f"expected {hours:,.0f} GPU hours: 3 forward passes an iteration at an assumed {GPU_RATE_TMACS:g} T "
        "multiply-adds per second; not measured",
        f"expected {e.memory_gib:.0f} GiB of GPU memory in fp32: {e.saved_gib:.1f} GiB of saved activations (counted), "
        "weights, gradients and optimiser states; not measured",
    ]


def _rehearsed_cost(found: Mapping[str, Any], t: TrainSettings) -> list[str]:
    training = found["training"]
    hours = training["seconds_per_step"] * t.iterations / 3600
    parts = f", the batch in {training['parts']} parts" if training["parts"] > 1 else ""
    again = ", activations computed again" if training["checkpoint_activations"] else ""
    lines = [
        f"expected {hours:,.1f} hours: {training['seconds_per_step']:.3g} s per step{parts}{again}, "
        f"measured on {found['hardware']} by a rehearsal of {found['date'][:10]}"
    ]
    if training["peak_mib"] is not None:
        lines.append(f"peak memory {training['peak_mib'] / 1024:.1f} GiB, measured in that rehearsal")
    return lines
