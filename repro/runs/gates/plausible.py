"""Numbers that cannot be a working method's: they are shown with a flag and left out of all means.

A run that diverged quietly, towers with the wrong activation or weights of another model still give a number. Two
signs tell it from a weak method, both from the counts alone:

- its mIoU is not above chance: that of labels drawn uniformly from the vocabulary for every pixel;
- one class takes :data:`ONE_CLASS` of all predicted pixels, where the ground truth is not as one-sided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ONE_CLASS = 0.99
"""Share of the predicted pixels from which on the predictions count as one class."""
ONE_SIDED = 0.9
"""Share of the ground truth above which one class for all pixels may be right."""


def chance_miou(ground_truth: Mapping[str, int]) -> float:
    """Return expected ``miou_gt``, 0..1, of labels drawn evenly from N classes of ``ground_truth`` (pixels by class).

    With a share g of the pixels, a class has an intersection of g/N and a union of g + 1/N - g/N.
    """
    total, n = sum(ground_truth.values()), len(ground_truth)
    shares = [pixels / total for pixels in ground_truth.values() if pixels]
    return sum((g / n) / (g + 1 / n - g / n) for g in shares) / len(shares)


def implausible(record: Mapping[str, Any]) -> str | None:
    """Say why the evaluation ``record`` (the content of metrics.json) cannot be a working method's, else None."""
    rows, miou = record.get("per_class"), record.get("miou_gt")
    if not rows or miou is None or len(rows) < 2:
        return None
    truth = {row["name"]: row["ground_truth"] for row in rows}
    predicted = {row["name"]: row["prediction"] for row in rows}
    pixels = sum(truth.values())
    largest = max(predicted, key=lambda name: predicted[name])
    share = predicted[largest] / max(1, sum(predicted.values()))
    if share >= ONE_CLASS and truth[largest] / pixels < ONE_SIDED:
        return f"{100 * share:.1f} % of the pixels are predicted as {largest!r}"
    chance = chance_miou(truth)
    if miou <= chance:
        return f"mIoU {100 * miou:.2f} % is not above chance ({100 * chance:.2f} %)"
    return None
