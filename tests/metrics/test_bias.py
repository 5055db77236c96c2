"""Foreground bias from masks, from per-image counts and from the summed confusion is one and the same."""

from __future__ import annotations

import numpy as np
import pytest

from repro.datasets.benchmarks import get_benchmark
from repro.metrics.bias import BiasMeasure, bias_shares, cross_counts
from repro.metrics.counts import CountsBuilder

BENCHMARK = get_benchmark("PC-59")
THINGS = np.array([k == "thing" for k in BENCHMARK.class_kinds()])


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 59, (30, 40))
    prediction = np.where(rng.random(label.shape) < 0.4, label, rng.integers(0, 59, label.shape))
    return prediction, np.where(rng.random(label.shape) < 0.2, 255, label)


PAIRS = [maps(seed) for seed in range(3)]


def by_masks() -> dict[str, float]:
    prediction = np.concatenate([p.ravel() for p, _ in PAIRS])
    label = np.concatenate([t.ravel() for _, t in PAIRS])
    prediction, label = prediction[label != 255], label[label != 255]
    thing, called_thing = THINGS[label], THINGS[prediction]
    return {
        "stuff_as_thing": (called_thing & ~thing).sum() / (~thing).sum(),
        "thing_as_stuff": (~called_thing & thing).sum() / thing.sum(),
        "foreground_bias": called_thing.mean() - thing.mean(),
    }


def test_shares_equal_those_counted_on_masks():
    measure = BiasMeasure(BENCHMARK)
    for i, (prediction, label) in enumerate(PAIRS):
        measure.add(str(i), prediction, label)
    assert measure.values(measure.build()) == pytest.approx(by_masks())


def test_the_summed_confusion_of_a_plain_evaluation_gives_the_same_shares():
    builder = CountsBuilder(59, 255)
    for i, (prediction, label) in enumerate(PAIRS):
        builder.add(str(i), prediction, label)
    assert bias_shares(cross_counts(builder.build().confusion, BENCHMARK.class_kinds())) == pytest.approx(by_masks())


def test_all_things_is_full_bias_and_a_right_prediction_none():
    thing = int(np.flatnonzero(THINGS)[0])
    label = PAIRS[0][1]
    right, all_things = BiasMeasure(BENCHMARK), BiasMeasure(BENCHMARK)
    right.add("a", np.where(label == 255, thing, label), label)
    all_things.add("a", np.full(label.shape, thing), label)
    assert right.values(right.build()) == {"stuff_as_thing": 0, "thing_as_stuff": 0, "foreground_bias": 0}
    values = all_things.values(all_things.build())
    assert (values["stuff_as_thing"], values["thing_as_stuff"]) == (1, 0)
    assert values["foreground_bias"] > 0


def test_a_set_without_stuff_has_no_share_of_stuff():
    measure = BiasMeasure(get_benchmark("PAS-20"))
    measure.add("a", np.zeros((4, 4), int), np.zeros((4, 4), np.uint8))
    assert np.isnan(measure.values(measure.build())["stuff_as_thing"])


def test_the_folded_background_is_stuff():
    measure = BiasMeasure(get_benchmark("PAS-20b"))
    measure.add("a", np.zeros((4, 4), int), np.full((4, 4), 20, np.uint8))
    assert measure.values(measure.build())["stuff_as_thing"] == 1
