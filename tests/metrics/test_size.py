"""Size of regions: against a flood fill in plain Python, under changes that must not matter, and on cases by hand."""

from __future__ import annotations

import numpy as np
import pytest

from repro.datasets.benchmarks import get_benchmark
from repro.metrics.miou import metrics_from_counts
from repro.metrics.size import SIZES, SizeMeasure, region_sizes
from repro.stats.metrics import get_metric
from repro.stats.resample import observed_totals

BENCHMARK = get_benchmark("PC-59")
IGNORED = 59


def by_flooding(labels: np.ndarray) -> np.ndarray:
    """As region_sizes, by visiting the eight neighbours of one pixel after the other."""
    height, width = labels.shape
    found = np.full(labels.shape, -1)
    labelled = sum(int(v) != IGNORED for v in labels.ravel())
    seen = set()
    for start in np.ndindex(height, width):
        if start in seen or labels[start] == IGNORED:
            continue
        region, queue = [], [start]
        seen.add(start)
        while queue:
            y, x = queue.pop()
            region.append((y, x))
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                inside = 0 <= near[0] < height and 0 <= near[1] < width
                if inside and near not in seen and labels[near] == labels[start]:
                    seen.add(near)
                    queue.append(near)
        share = len(region) / labelled
        for pixel in region:
            found[pixel] = 0 if share < 0.01 else 2 if share > 0.1 else 1
    return found


def drawn(seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, (60 // block, 48 // block)).repeat(block, 0).repeat(block, 1)
    label = np.where(rng.random(label.shape) < 0.03, IGNORED, label)
    prediction = np.where(rng.random(label.shape) < 0.6, np.minimum(label, 58), rng.integers(0, 59, label.shape))
    return prediction, label


@pytest.mark.parametrize("block", [2, 4, 12])
def test_regions_and_their_sizes_are_those_of_a_flood_fill(block: int) -> None:
    for seed in range(3):
        label = drawn(seed, block)[1]
        np.testing.assert_array_equal(region_sizes(label.astype(np.int32), IGNORED), by_flooding(label))


def test_limits_are_shares_of_the_labelled_pixels_whatever_the_resolution() -> None:
    label = np.full((20, 20), IGNORED)
    label[:10, :10] = 0  # 100 labelled pixels beside which nothing counts
    label[0, 0] = 1  # one in a hundred is medium already, below it is small
    label[3:5, 0:5] = 2  # a tenth is medium still
    sizes = region_sizes(label.astype(np.int32), IGNORED)
    assert (sizes[0, 0], sizes[3, 2], sizes[9, 9], sizes[19, 19]) == (1, 1, 2, -1)
    label[12, 12] = 0  # a hundred and one: now the first is below one in a hundred
    assert region_sizes(label.astype(np.int32), IGNORED)[0, 0] == 0
    finer = label.repeat(3, 0).repeat(3, 1)
    coarse = region_sizes(label.astype(np.int32), IGNORED)
    np.testing.assert_array_equal(region_sizes(finer.astype(np.int32), IGNORED), coarse.repeat(3, 0).repeat(3, 1))


def test_an_image_without_labels_has_no_region() -> None:
    assert (region_sizes(np.full((4, 5), IGNORED, np.int32), IGNORED) == -1).all()


def measured(pairs: list[tuple[np.ndarray, np.ndarray]]) -> SizeMeasure:
    measure = SizeMeasure(BENCHMARK)
    for i, (prediction, label) in enumerate(pairs):
        measure.add(str(i), prediction, np.where(label == IGNORED, 255, label))
    return measure


def test_figures_are_those_counted_on_masks_and_the_parts_add_up() -> None:
    pairs = [drawn(seed, block) for seed, block in ((0, 2), (1, 4), (2, 12))]
    measure = measured(pairs)
    parts = measure.build()
    values = measure.values(parts)
    sizes = np.concatenate([by_flooding(t).ravel() for _, t in pairs])
    prediction = np.concatenate([p.ravel() for p, _ in pairs])
    label = np.concatenate([t.ravel() for _, t in pairs])
    for i, size in enumerate(SIZES):
        p, t = prediction[sizes == i], label[sizes == i]
        ious = [((p == c) & (t == c)).sum() / ((p == c) | (t == c)).sum() for c in np.unique(t)]
        assert values[f"miou_{size}"] == pytest.approx(np.mean(ious))
        assert values[f"recall_{size}"] == pytest.approx((p == t).mean())
        assert len(t) > 0
    assert sum(int(c.confusion.sum()) for c in parts.values()) == (label != IGNORED).sum()


def test_the_tested_metric_is_the_figure() -> None:
    measure = measured([drawn(seed, 4) for seed in range(3)])
    parts = measure.build()
    for name, value in measure.values(parts).items():
        metric = get_metric(name)
        assert float(metric(observed_totals(parts[metric.source]), BENCHMARK.class_kinds())[0]) == pytest.approx(value)
    assert metrics_from_counts(parts["size_medium"])["miou_gt"] == measure.values(parts)["miou_medium"]


def test_turning_an_image_changes_nothing_and_a_right_prediction_is_perfect() -> None:
    pairs = [drawn(seed, 4) for seed in range(2)]
    turned = [(p[::-1, ::-1].T, t[::-1, ::-1].T) for p, t in pairs]
    first, second = measured(pairs), measured(turned)
    assert first.values(first.build()) == second.values(second.build())
    right = measured([(np.minimum(t, 58), t) for _, t in pairs])
    found = {v for v in right.values(right.build()).values() if not np.isnan(v)}
    assert found == {1.0}


def test_a_size_no_region_has_is_no_number() -> None:
    measure = measured([(np.zeros((4, 4), int), np.zeros((4, 4), int))])
    values = measure.values(measure.build())
    assert values["miou_large"] == values["recall_large"] == 1
    assert np.isnan([values["miou_small"], values["recall_medium"]]).all()
