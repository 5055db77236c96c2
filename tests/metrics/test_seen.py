"""Seen against unseen classes: which names agree, and figures over each part of the classes."""

from __future__ import annotations

import numpy as np
import pytest
from fake_runs import draw_counts

from repro.datasets.benchmarks import Benchmark, get_benchmark
from repro.datasets.vocabulary import load_vocabulary
from repro.metrics.counts import Counts, CountsBuilder
from repro.metrics.miou import metrics_from_counts
from repro.metrics.seen import SAME_WORDS, class_exposure, class_groups, fold, seen_names
from repro.stats.metrics import get_metric, seen_metrics
from repro.stats.paired import interval_of
from repro.stats.resample import observed_totals


def drawn_counts(benchmark: Benchmark) -> Counts:
    """Counts of eight images in which most classes occur, right in two pixels of three or so."""
    builder, classes = CountsBuilder(benchmark.num_classes, 255), benchmark.num_classes
    for image in range(8):
        rng = np.random.default_rng(image)
        label = rng.integers(0, classes, (20, 30))
        builder.add(
            str(image), np.where(rng.random(label.shape) < 0.7, label, rng.integers(0, classes, (20, 30))), label
        )
    return builder.build()


SEEN_CLASSES = {"A-847": 116, "PC-459": 100, "A-150": 70, "PC-59": 53, "PAS-20": 20, "PAS-20b": 20}
"""As docs/taxonomy.md lists them."""


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("aeroplane", "airplane"),
        ("pottedplant", "potted plant"),
        ("tvmonitor", "tv"),
        ("bed ", "bed"),
        ("windowpane, window", "window-other"),
        ("door", "door-stuff"),
        ("Dining Table", "dining table"),
        ("horse, equus caballus", "zebra, equus caballus"),
    ],
)
def test_any_synonym_folded_makes_two_names_one_class_either_way_round(name: str, trained: str) -> None:
    assert seen_names([name], [trained]) == seen_names([trained], [name]) == (True,)


@pytest.mark.parametrize(
    ("name", "trained"), [("wall", "wall-brick"), ("cat", "cattle"), ("other", "wall-other"), ("car", "car seat")]
)
def test_parts_of_names_are_no_agreement(name: str, trained: str) -> None:
    assert seen_names([name], [trained]) == seen_names([trained], [name]) == (False,)


def test_the_training_set_is_seen_by_itself_and_an_empty_one_sees_nothing() -> None:
    names = load_vocabulary("coco_stuff171").names
    assert all(seen_names(names, names))
    assert not any(seen_names(names, []))
    assert {fold(words[0]) for words in SAME_WORDS} <= {fold(name) for name in names}
    assert len({fold(words[0]) for words in SAME_WORDS}) == len(SAME_WORDS)


@pytest.mark.parametrize(("name", "count"), SEEN_CLASSES.items())
def test_benchmarks_have_as_many_seen_classes_as_is_documented(name: str, count: int) -> None:
    benchmark = get_benchmark(name)
    found = class_exposure(benchmark)
    assert len(found) == benchmark.num_classes
    assert found.count("seen") == count
    assert found.count("") == (benchmark.background_index is not None)


def test_classes_that_everybody_knows() -> None:
    pc59 = dict(zip(get_benchmark("PC-59").class_names(), class_exposure(get_benchmark("PC-59")), strict=True))
    assert {name for name, value in pc59.items() if value == "unseen"} == {
        "bag", "bedclothes", "computer", "plate", "sign", "track",
    }  # fmt: skip


def test_figures_are_means_over_the_classes_of_each_part() -> None:
    benchmark = get_benchmark("A-150")
    counts = drawn_counts(benchmark)
    found = seen_metrics(counts, benchmark)
    intersection, truth, predicted = counts.totals()
    seen = np.array([e == "seen" for e in class_exposure(benchmark)])
    sums = 0.0
    for name, part in (("miou_seen", seen), ("miou_unseen", ~seen)):
        own = part & (truth > 0)
        ious = intersection[own] / (truth + predicted - intersection)[own]
        assert found[name] == pytest.approx(ious.mean())
        sums += ious.sum()
    assert sums / (truth > 0).sum() == pytest.approx(metrics_from_counts(counts)["miou_gt"])


def test_where_all_classes_are_seen_the_rest_is_no_number() -> None:
    benchmark = get_benchmark("PAS-20")
    counts = draw_counts(benchmark, 10, 0.5)
    assert seen_metrics(counts, benchmark) == {
        "miou_seen": pytest.approx(metrics_from_counts(counts)["miou_gt"]),
        "miou_unseen": None,
    }


def test_kinds_are_read_from_the_words_as_from_the_kinds_alone() -> None:
    benchmark = get_benchmark("PC-59")
    counts = drawn_counts(benchmark)
    totals = observed_totals(counts)
    for name in ("miou_gt_thing", "miou_gt_stuff", "miou_gt"):
        metric = get_metric(name)
        assert metric(totals, class_groups(benchmark)) == metric(totals, benchmark.class_kinds())
    interval = interval_of(counts, get_metric("miou_unseen"), class_groups(benchmark), resamples=200)
    assert interval.low <= interval.value <= interval.high
