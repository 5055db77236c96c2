"""When a control holds, and how that is said. The bars are the same for every method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

OVERFIT_ACCURACY = 0.95
"""Pixels that a method trained with masks names right in images learned by heart, of those its map can show."""
OVERFIT_TIMES_CHANCE = 2.0
"""Average precision of the maps of a method trained with image labels, in units of chance."""
CLASS_SHARE = 0.1
"""Variance of the first logits over classes, in units of that over places."""
QUERY_SHARE = 0.5
"""What is left between the classes' queries of what lies between their texts: 1 minus the mean cosine of both."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a control holds, in words with the numbers it rests on."""

    holds: bool
    text: str


def judge_overfit(found: Mapping[str, Any], supervision: str) -> Verdict:
    """Judge control (a) from the fields of :class:`repro.controls.overfit.Overfit`."""
    if supervision == "masks":
        text = (
            f"{100 * found['shown_accuracy']:.1f} % right of the pixels that a map of its size can show (95 wanted), "
            f"{100 * found['accuracy']:.1f} % of all ({100 * found['shown']:.1f} can be shown), after {found['steps']} "
            "steps"
        )
        return Verdict(found["shown_accuracy"] >= OVERFIT_ACCURACY, text)
    ap, chance, cosine = found["map_ap"], found["chance_ap"], found["cosine_ap"]
    text = (
        f"AP of the maps {100 * ap:.1f} (wanted: {OVERFIT_TIMES_CHANCE:g} times chance, {100 * chance:.1f}, and more "
        f"than the tower's cosine, {100 * cosine:.1f}) after {found['steps']} steps"
    )
    return Verdict(ap >= OVERFIT_TIMES_CHANCE * chance and ap > cosine, text)


def judge_start(found: Mapping[str, Any]) -> Verdict:
    """Judge control (b) from the fields of :class:`repro.controls.start.Start`."""
    ratio = found["over_classes"] / found["over_places"] if found["over_places"] else 0.0
    text = f"variance over classes {ratio:.2g} of that over places ({CLASS_SHARE:g} wanted)"
    holds = ratio >= CLASS_SHARE
    if found["query_cosine"] is not None:
        apart, words = 1 - found["query_cosine"], 1 - found["text_cosine"]
        text += f"; mean cosine of queries {found['query_cosine']:.2f}, of texts {found['text_cosine']:.2f}"
        holds = holds and apart >= QUERY_SHARE * words
    return Verdict(holds, text)


def judge_trained(
    trained: Mapping[str, float], untrained: Mapping[str, float], zero_shot: Mapping[str, float], seen: Sequence[str]
) -> Verdict:
    """Judge control (c): mIoU (fractions) by benchmark of a method, of itself before training, of zero-shot CLIP.

    ``seen`` are the benchmarks whose classes are in the training set.
    """
    worse = [b for b in trained if b in untrained and trained[b] <= untrained[b]]
    below = [b for b in seen if b in trained and b in zero_shot and trained[b] <= zero_shot[b]]
    parts = [f"{b} {100 * trained[b]:.1f}, untrained {100 * untrained[b]:.1f}" for b in worse]
    parts += [f"{b} {100 * trained[b]:.1f}, zero-shot CLIP {100 * zero_shot[b]:.1f}" for b in below]
    if parts:
        return Verdict(False, "not above: " + "; ".join(parts))
    text = f"above its untrained self on {len(set(trained) & set(untrained))} benchmarks"
    known = [b for b in seen if b in trained and b in zero_shot]
    return Verdict(True, text + (f", above zero-shot CLIP on {', '.join(known)}" if known else ""))


def judge_teacher(found: Mapping[str, Any]) -> Verdict:
    """Judge control (d) from the fields ``teacher``, ``student`` and ``regions`` of an alignment's premise."""
    text = (
        f"the teacher names {100 * found['teacher']:.1f} % of {found['regions']} regions right, its student "
        f"{100 * found['student']:.1f} %"
    )
    return Verdict(found["teacher"] > found["student"], text)
