from __future__ import annotations

import json
import math

import numpy as np
import pytest

from repro.metrics.counts import CountsBuilder
from repro.metrics.miou import METRICS, class_scores, describe_counts, metrics_from_counts, metrics_from_totals


def counted(maps, num_classes, ignore=255):
    builder = CountsBuilder(num_classes, ignore)
    for i, (prediction, label) in enumerate(maps):
        builder.add(str(i), prediction, label)
    return builder.build()


def random_maps(num_classes=9, images=4, absent_truth=(5,), absent_everywhere=(8,), seed=0):
    """Class 5 is predicted but never true, class 8 neither."""
    rng = np.random.default_rng(seed)
    allowed = [c for c in range(num_classes) if c not in absent_everywhere]
    true = [c for c in allowed if c not in absent_truth]
    out = []
    for _ in range(images):
        label = rng.choice(true, (20, 30)).astype(np.uint8)
        prediction = np.where(rng.random(label.shape) < 0.5, label, rng.choice(allowed, label.shape)).astype(np.int64)
        label[rng.random(label.shape) < 0.1] = 255
        out.append((prediction, label))
    return out


def naive(maps, num_classes):
    """Every metric from boolean masks, class by class."""
    prediction = np.concatenate([p.ravel() for p, _ in maps])
    label = np.concatenate([g.ravel() for _, g in maps])
    prediction, label = prediction[label != 255], label[label != 255]
    iou_gt, iou_union, accuracy, weighted = [], [], [], 0.0
    for c in range(num_classes):
        p, g = prediction == c, label == c
        if not (p | g).any():
            continue
        iou = (p & g).sum() / (p | g).sum()
        iou_union.append(iou)
        if g.any():
            iou_gt.append(iou)
            accuracy.append((p & g).sum() / g.sum())
            weighted += g.mean() * iou
    return {
        "miou_gt": np.mean(iou_gt),
        "miou_union": np.mean(iou_union),
        "fwiou": weighted,
        "macc": np.mean(accuracy),
        "pacc": (prediction == label).mean(),
    }


def test_metrics_equal_masks_class_by_class():
    maps = random_maps()
    found = metrics_from_counts(counted(maps, 9))
    assert tuple(found) == METRICS
    assert found == pytest.approx(naive(maps, 9), abs=1e-12)


def test_the_two_conventions_differ_by_the_predicted_but_absent_classes():
    found = metrics_from_counts(counted(random_maps(), 9))
    assert found["miou_gt"] * 7 == pytest.approx(found["miou_union"] * 8)


def test_miou_union_equals_mmsegmentation():
    from repro.runtime import import_torchvision

    import_torchvision()
    torch = pytest.importorskip("torch")
    metric_type = pytest.importorskip("mmseg.evaluation").IoUMetric
    maps = random_maps(absent_everywhere=())  # mmsegmentation has NaN, not a smaller mean, for absent classes
    metric = metric_type(ignore_index=255, nan_to_num=None)
    metric.dataset_meta = {"classes": [str(i) for i in range(9)]}
    for prediction, label in maps:
        sample = {
            "pred_sem_seg": {"data": torch.from_numpy(prediction)[None]},
            "gt_sem_seg": {"data": torch.from_numpy(label.astype(np.int64))[None]},
        }
        metric.process({}, [sample])
    theirs = metric.compute_metrics(metric.results)
    ours = metrics_from_counts(counted(maps, 9))
    assert theirs["mIoU"] == pytest.approx(100 * ours["miou_union"], abs=0.006)  # they round to two decimals
    assert theirs["aAcc"] == pytest.approx(100 * ours["pacc"], abs=0.006)
    assert theirs["mAcc"] == pytest.approx(100 * ours["macc"], abs=0.006)


def test_perfect_prediction_scores_one():
    label = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5
    assert metrics_from_counts(counted([(label.astype(np.int64), label)], 7)) == dict.fromkeys(METRICS, 1.0)


def test_a_hand_counted_case():
    # class 0: 3 of 4 found; class 1: nothing true, 1 predicted; class 2: 2 of 2 found.
    found = metrics_from_totals(np.array([3, 0, 2]), np.array([4, 0, 2]), np.array([3, 1, 2]))
    assert found["miou_gt"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["miou_union"] == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert found["fwiou"] == pytest.approx(4 / 6 * 3 / 4 + 2 / 6)
    assert found["macc"] == pytest.approx((3 / 4 + 1) / 2)
    assert found["pacc"] == pytest.approx(5 / 6)


def test_predictions_on_ignored_pixels_do_not_change_any_metric():
    maps = random_maps()
    changed = [(np.where(label == 255, 6, prediction), label) for prediction, label in maps]
    assert metrics_from_counts(counted(maps, 9)) == metrics_from_counts(counted(changed, 9))


def test_sums_beyond_single_precision_are_exact():
    large = np.array([2**24 + 1, 2**40 + 1], dtype=np.int64)
    found = metrics_from_totals(large - 1, large, large - 1)
    assert found["pacc"] == (int(large.sum()) - 2) / int(large.sum())
    assert found["pacc"] < 1


def test_nothing_labelled_gives_none_in_json_not_nan():
    counts = counted([(np.zeros((2, 2), dtype=int), np.full((2, 2), 255, dtype=np.uint8))], 2)
    assert all(math.isnan(v) for v in metrics_from_counts(counts).values())
    record = json.loads(json.dumps(describe_counts(counts, ("a", "b")), allow_nan=False))
    assert [record[name] for name in METRICS] == [None] * 5
    assert record["per_class"][0]["iou"] is None


def test_per_class_rows_name_classes_in_order():
    counts = counted(random_maps(), 9)
    record = describe_counts(counts, tuple("abcdefghi"))
    scores = class_scores(*counts.totals())
    assert [r["name"] for r in record["per_class"]] == list("abcdefghi")
    assert record["per_class"][2]["iou"] == scores.iou[2]
    assert record["per_class"][5]["accuracy"] is None
    assert record["classes_with_ground_truth"] == 7
    assert record["classes_with_ground_truth_or_prediction"] == 8
    with pytest.raises(ValueError):
        describe_counts(counts, ("too", "few"))
