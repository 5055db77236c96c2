"""Foreground bias: how much of the background (stuff) a method calls an object (thing), and the reverse.

The summed confusion of an evaluation gives both shares without another forward pass (:func:`bias_shares`); their
intervals and tests need the four pixel counts of every image, which :class:`BiasMeasure` collects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from repro.datasets.benchmarks import Benchmark
from repro.metrics.counts import UNPREDICTED, Counts, Int64
from repro.metrics.measure import Int32, Maps, Measure

THING, STUFF = 0, 1
_KINDS = ("thing", "stuff")


def cross_counts(confusion: Int64, kinds: Sequence[str]) -> Int64:
    """Return the confusion (C, C) between classes, rows ground truth, as a confusion (2, 2) between thing and stuff."""
    groups = np.array([[kind == own for kind in kinds] for own in _KINDS], dtype=np.int64)
    return np.asarray(groups @ confusion @ groups.T)


def bias_shares(cross: Int64) -> dict[str, float]:
    """Return ``stuff_as_thing``, ``thing_as_stuff`` and ``foreground_bias`` of a thing / stuff confusion (2, 2).

    The first two are shares of the pixels whose ground truth is stuff, respectively thing; NaN where there are none.
    ``foreground_bias`` is predicted minus true thing pixels as a share of all: above 0 where things are favoured.
    """
    truth, predicted = cross.sum(axis=1), cross.sum(axis=0)

    def share(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")

    return {
        "stuff_as_thing": share(int(cross[STUFF, THING]), int(truth[STUFF])),
        "thing_as_stuff": share(int(cross[THING, STUFF]), int(truth[THING])),
        "foreground_bias": share(int(predicted[THING] - truth[THING]), int(cross.sum())),
    }


class BiasMeasure(Measure):
    """One part, ``bias``: counts over two classes, thing (0) and stuff (1)."""

    name: ClassVar[str] = "bias"

    def __init__(self, benchmark: Benchmark) -> None:
        super().__init__(benchmark)
        kinds = [_KINDS.index(kind) for kind in benchmark.class_kinds()]
        self._groups = np.array([*kinds, len(_KINDS)], dtype=np.int32)  # the ignored label stays ignored

    @classmethod
    def parts(cls, benchmark: Benchmark) -> dict[str, int]:
        return {cls.name: len(_KINDS)}

    @classmethod
    def facts(cls, benchmark: Benchmark) -> Any:
        return list(benchmark.class_kinds())

    def maps(self, prediction: Int32, label: Int32) -> Maps:
        predicted = np.where(prediction == UNPREDICTED, np.int32(UNPREDICTED), self._groups[prediction])
        return {self.name: (predicted, self._groups[label])}

    @classmethod
    def values(cls, parts: Mapping[str, Counts]) -> dict[str, float]:
        return bias_shares(parts[cls.name].confusion)
