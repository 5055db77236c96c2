"""What a plan will do, in words a person can check against a paper: schedule, learning rates, hours, memory."""

from __future__ import annotations

from repro.cost.estimate import Estimate, estimate_training
from repro.runs.counted import counted
from repro.runs.plan import Plan, Run
from repro.training.settings import TrainSettings

CLASSES = 171
"""Of COCO-Stuff, on which the methods are trained."""
GPU_RATE_TMACS = 10.0
"""Multiply-adds per second, in 1e12, that a recent data-centre GPU is assumed to sustain in mixed precision."""


def recipe_lines(plan: Plan) -> list[str]:
    """Return one block of lines for each run that trains, each figure with how it is known."""
    lines: list[str] = []
    for run in plan.runs:
        if run.train is None:
            continue
        lines += ["", f"Recipe of {run.row.title} on {run.tower.title}, seed {run.seed} ({run.id})"]
        lines += [f"  {line}" for line in _schedule(run, run.train)]
        if plan.profile.comparable:
            lines += [f"  {line}" for line in _cost(run, run.train)]
    return lines


def _schedule(run: Run, t: TrainSettings) -> list[str]:
    multiplier = getattr(run.options, "clip_lr_factor", None)
    clip = f", CLIP {t.lr * multiplier:g}" if multiplier is not None else ""
    part = f", {t.classes_per_step} classes a step (published: all)" if t.classes_per_step else ""
    return [
        f"{t.iterations:,} iterations of batch {t.batch_size}, crops {t.crop} of shorter side {t.short_side}{part}",
        f"AdamW, learning rate {t.lr:g}{clip}, weight decay {t.weight_decay:g}, cosine after {t.warmup_iterations} "
        f"warm-up iterations, gradient norm clipped to {t.clip_grad_norm:g}, amp {t.amp}",
    ]


def _cost(run: Run, t: TrainSettings) -> list[str]:
    def count() -> Estimate:
        spec = run.assets.untrained_tower(run.row.tower)
        return estimate_training(run.entry, spec, run.options, t, num_classes=CLASSES)

    asked = {"batch": t.batch_size, "crop": t.crop, "classes": CLASSES}
    e = counted(run, "repro.cost.estimate:estimate_training", asked, Estimate, count)
    hours = 3 * e.forward_gmacs * 1e9 * t.iterations / (GPU_RATE_TMACS * 1e12) / 3600
    return [
        f"{e.parameters / 1e6:.1f} M parameters, {e.trained_parameters / 1e6:.1f} M trained; "
        f"{e.forward_gmacs:,.0f} G multiply-adds a forward step (counted)",
        f"expected {hours:,.0f} GPU hours: 3 forward passes an iteration at an assumed {GPU_RATE_TMACS:g} T "
        "multiply-adds per second; not measured",
        f"expected {e.memory_gib:.0f} GiB of GPU memory in fp32: {e.saved_gib:.1f} GiB of saved activations (counted), "
        "weights, gradients and optimiser states; not measured",
    ]
