"""A search of training settings that is the same for every method: what is drawn, and who goes on with what budget.

Pure functions of seed, space and budget (no torch), so that a trial is known by its number alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from random import Random

Bounds = tuple[float, float]

PRESENT = 0
"""The number of the trial that changes nothing: no search ends worse than it began."""
STEPS = (4, 2, 1)
"""Iterations of the rungs, as parts of the whole training: a quarter, a half, all."""
_DIGITS = 3
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclasses.dataclass(frozen=True)
class Space:
    """Bounds of what is searched, as factors; draws are uniform in their logarithm.

    ``lr`` and ``weight_decay`` are relative to the recipe that all methods of a profile share, so that no method's own
    settings move its bounds; a loss weight is relative to its value in the run.
    """

    lr: Bounds = (1 / 16, 2.0)
    weight_decay: Bounds = (0.1, 100.0)
    loss_weights: Bounds = (0.25, 4.0)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            bounds = tuple(map(float, getattr(self, field.name)))
            if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] < math.inf:
                raise TypeError(f"bounds of {field.name} = {bounds}, not two numbers of which 0 < low <= high")
            object.__setattr__(self, field.name, bounds)

    def __str__(self) -> str:
        bounds = {
            f.name.replace("loss_weights", "loss weights"): getattr(self, f.name) for f in dataclasses.fields(self)
        }
        return ", ".join(f"{name} x {low:.4g} .. {high:.4g}" for name, (low, high) in bounds.items())


@dataclasses.dataclass(frozen=True)
class Rung:
    """A step of successive halving: ``trials`` of them are trained for ``iterations``, by a schedule of that length."""

    iterations: int
    trials: int


def rungs(trials: int, iterations: int) -> tuple[Rung, ...]:
    """Return the budget of a search: all trials for a quarter of the ``iterations``, half of them for a half, ..

    The last rung is a whole training and has two trials or more, that of the present values among them. A rung is left
    out where the next has as many iterations, or drops nobody. Raises ValueError for fewer than one of either.
    """
    if trials < 1 or iterations < 1:
        raise ValueError(f"{trials} trials of {iterations} iterations")
    least = min(trials, 2)
    steps = [Rung(-(-iterations // part), max(least, -(-trials // 2**number))) for number, part in enumerate(STEPS)]
    kept: list[Rung] = []
    for rung in steps:
        if kept and kept[-1].iterations == rung.iterations:
            continue
        if kept and kept[-1].trials == rung.trials:
            kept.pop()
        kept.append(rung)
    return tuple(kept)


def factors(space: Space, seed: int, trial: int, loss_weights: Iterable[str] = ()) -> dict[str, float]:
    """Return the factors of trial number ``trial``: ``lr``, ``weight_decay``, and one for each of ``loss_weights``.

    Trial 0 is the present one: 1 everywhere. What is drawn depends on seed, number and name alone, so that ``lr`` and
    ``weight_decay`` are the same for every method. ``lr``, which decides most, is spread evenly however many trials
    there are (steps of the golden ratio from a random point); the others are independent.
    """
    if trial == PRESENT:
        return dict.fromkeys(("lr", "weight_decay", *loss_weights), 1.0)
    drawn = {name: Random(f"tuning {seed} {trial} {name}").random() for name in ("weight_decay", *loss_weights)}
    even = (Random(f"tuning {seed}").random() + trial * _GOLDEN) % 1
    bounds = {"weight_decay": space.weight_decay}
    found = {name: _within(bounds.get(name, space.loss_weights), place) for name, place in drawn.items()}
    return {"lr": _within(space.lr, even), **found}


def _within(bounds: Bounds, place: float) -> float:
    """Return the point of ``bounds`` at ``place`` in 0..1, by logarithm."""
    low, high = bounds
    return low * (high / low) ** place


def times(value: float, factor: float) -> float:
    """Multiply to three significant digits, so that what is printed is what was run; a factor of 1 changes nothing."""
    return value if factor == 1 else float(f"{value * factor:.{_DIGITS}g}")


@dataclasses.dataclass(frozen=True)
class Score:
    """What a trial reached on a rung, with the learning rate that decides between equals."""

    value: float
    lr: float


def ranked(scores: Mapping[int, Score]) -> list[int]:
    """Return the numbers of the trials, the best first; of equal scores the lower learning rate, then the number."""
    return sorted(scores, key=lambda trial: (-scores[trial].value, scores[trial].lr, trial))


def promoted(scores: Mapping[int, Score], places: int) -> list[int]:
    """Return, by number, the trials that get the ``places`` of the next rung: the present one if it ended, and the
    best others. A trial without a score is lost.
    """
    present = [PRESENT] * (PRESENT in scores)
    best = [trial for trial in ranked(scores) if trial != PRESENT]
    return sorted(present + best[: places - len(present)])
