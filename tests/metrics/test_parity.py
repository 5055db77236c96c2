"""Our counts and metrics against the evaluators in circulation, to 1e-9 on the same predictions.

detectron2's two formulas, mmsegmentation's and torchmetrics' are written out here as plain loops over pixels and
classes; where the packages themselves are installed, they are asked too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from repro.metrics.counts import Counts, CountsBuilder
from repro.metrics.miou import class_scores, metrics_from_counts

Map = NDArray[Any]
TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Case:
    """Images of one benchmark-like set: predictions into the prompts, labels as stored."""

    name: str
    num_classes: int
    ignore: int
    images: tuple[tuple[Map, Map], ...]
    background: int | None = None

    def counts(self) -> Counts:
        builder = CountsBuilder(self.num_classes, self.ignore, self.background)
        for i, (prediction, label) in enumerate(self.images):
            builder.add(str(i), prediction, label)
        return builder.build()

    def folded(self) -> list[tuple[Map, Map]]:
        """What other evaluators are given: folded predictions, one ignore value, 64-bit integers."""
        out = []
        for prediction, label in self.images:
            fold = prediction if self.background is None else np.minimum(prediction, self.background)
            out.append((fold.astype(np.int64), np.minimum(label.astype(np.int64), self.ignore)))
        return out


def _images(
    true: list[int],
    predicted: list[int],
    ignore: list[int],
    dtype: type = np.uint8,
    count: int = 3,
    shape: tuple[int, int] = (13, 17),
) -> tuple[tuple[Map, Map], ...]:
    rng = np.random.default_rng(7)
    out = []
    for _ in range(count):
        label = rng.choice(true, shape)
        guess = rng.choice(predicted, shape)
        prediction = np.where((rng.random(shape) < 0.6) & np.isin(label, predicted), label, guess)
        label = np.where(rng.random(shape) < 0.15, rng.choice(ignore, shape), label)
        out.append((prediction.astype(np.int64), label.astype(dtype)))
    return tuple(out)


def _ignored(ignore: int, dtype: type = np.uint8) -> tuple[Map, Map]:
    return np.full((5, 6), 1, np.int64), np.full((5, 6), ignore, dtype)


CASES = (
    Case("every class present", 6, 255, _images(list(range(6)), list(range(6)), [255])),
    Case("absent, only predicted and never predicted classes", 9, 255, _images([0, 1, 2, 7], [0, 1, 4, 5], [255])),
    Case("an image without a label among others", 6, 255, (*_images([0, 3], [0, 3, 4], [255]), _ignored(255))),
    Case("nothing but ignored pixels", 4, 255, (_ignored(255), _ignored(255))),
    Case("one pixel, wrong", 3, 255, ((np.array([[2]]), np.array([[0]], np.uint8)),)),
    Case("no image", 3, 255, ()),
    Case("A-847", 847, 65535, _images([0, 255, 256, 845, 846], [0, 255, 300, 846], [65535], np.uint16)),
    Case("PC-459", 459, 459, _images([0, 255, 458], [0, 254, 458], [459, 460, 65535], np.uint16)),
    Case("PAS-20b", 21, 255, _images([0, 7, 19, 20], [0, 7, 20, 21, 40, 58], [255]), background=20),
)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def confusion_by_pixels(case: Case) -> list[list[int]]:
    """[prediction][label] as detectron2 lays it out, with an extra row and column for what is ignored."""
    size = case.num_classes + 1
    matrix = [[0] * size for _ in range(size)]
    for prediction, label in case.folded():
        for p, g in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True):
            matrix[p][case.num_classes if g == case.ignore else g] += 1
    return matrix


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def detectron2(case: Case, version: str) -> dict[str, float]:
    """SemSegEvaluator.evaluate class by class: of today's main branch, or of release 0.6."""
    matrix, n = confusion_by_pixels(case), case.num_classes
    truth = [sum(matrix[p][g] for p in range(n)) for g in range(n)]
    predicted = [sum(matrix[p][g] for g in range(n)) for p in range(n)]
    hits = [matrix[c][c] for c in range(n)]
    with_truth = [c for c in range(n) if truth[c] > 0]
    union = {c: truth[c] + predicted[c] - hits[c] for c in range(n)}
    iou = {c: hits[c] / union[c] for c in with_truth}
    counted = len(with_truth) if version == "main" else sum(1 for c in range(n) if truth[c] + predicted[c] > 0)
    return {
        "miou": ratio(sum(iou.values()), counted),
        "fwiou": sum(iou[c] * truth[c] / sum(truth) for c in with_truth) if with_truth else math.nan,
        "macc": ratio(sum(hits[c] / truth[c] for c in with_truth), len(with_truth)),
        "pacc": ratio(sum(hits), sum(truth)),
    }


def union_average(case: Case) -> dict[str, float]:
    """mmsegmentation and torchmetrics (macro): areas per class without ignored pixels, undefined classes left out."""
    hits, truth, predicted = ([0] * case.num_classes for _ in range(3))
    for prediction, label in case.folded():
        for p, g in zip(prediction.ravel().tolist(), label.ravel().tolist(), strict=True):
            if g != case.ignore:
                truth[g] += 1
                predicted[p] += 1
                hits[g] += p == g
    ious = [h / (t + p - h) for h, t, p in zip(hits, truth, predicted, strict=True) if t + p - h]
    accuracies = [h / t for h, t in zip(hits, truth, strict=True) if t]
    return {
        "miou": ratio(sum(ious), len(ious)),
        "macc": ratio(sum(accuracies), len(accuracies)),
        "pacc": ratio(sum(hits), sum(truth)),
    }


def same(ours: float, theirs: float) -> bool:
    return ours == pytest.approx(theirs, abs=TOLERANCE, rel=0, nan_ok=True)


@each_case
def test_confusion_equals_the_pixel_loop_with_ignored_pixels_cut_off(case: Case) -> None:
    by_pixels = np.array(confusion_by_pixels(case))[:-1, :-1].T
    np.testing.assert_array_equal(case.counts().confusion, by_pixels)


@each_case
def test_miou_gt_equals_detectron2_main(case: Case) -> None:
    ours, theirs = metrics_from_counts(case.counts()), detectron2(case, "main")
    assert same(ours["miou_gt"], theirs["miou"])
    assert all(same(ours[name], theirs[name]) for name in ("fwiou", "macc", "pacc"))


@each_case
def test_miou_union_equals_detectron2_release_06(case: Case) -> None:
    ours, theirs = metrics_from_counts(case.counts()), detectron2(case, "0.6")
    assert same(ours["miou_union"], theirs["miou"])
    assert all(same(ours[name], theirs[name]) for name in ("fwiou", "macc", "pacc"))


@each_case
def test_miou_union_equals_the_mean_over_defined_classes(case: Case) -> None:
    ours, theirs = metrics_from_counts(case.counts()), union_average(case)
    assert same(ours["miou_union"], theirs["miou"])
    assert all(same(ours[name], theirs[name]) for name in ("macc", "pacc"))


def test_the_cases_tell_the_conventions_apart() -> None:
    told = {c.name for c in CASES if not same(detectron2(c, "main")["miou"], detectron2(c, "0.6")["miou"])}
    assert {"absent, only predicted and never predicted classes", "A-847", "PC-459"} <= told
    assert "every class present" not in told


# -- the packages themselves ----------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    from repro.runtime import import_torchvision

    import_torchvision()
    return pytest.importorskip("torch")


@pytest.mark.parametrize("case", [c for c in CASES if c.images], ids=lambda c: c.name)
def test_metrics_equal_the_installed_mmsegmentation(case: Case, torch: Any) -> None:
    metric_type = pytest.importorskip("mmseg.evaluation", reason="needs onedl-mmsegmentation (extra train)").IoUMetric
    metric = metric_type(ignore_index=case.ignore)
    metric.dataset_meta = {"classes": [str(i) for i in range(case.num_classes)]}
    for prediction, label in case.folded():
        data = {"pred_sem_seg": torch.from_numpy(prediction), "gt_sem_seg": torch.from_numpy(label)}
        metric.process({}, [{key: {"data": value[None]} for key, value in data.items()}])
    # Its areas are whole numbers kept in single precision: exact here, and summed in double to compare to 1e-9.
    areas = [sum(a.double() for a in column) for column in zip(*metric.results, strict=True)]
    theirs = metric_type.total_area_to_metrics(*areas)
    counts = case.counts()
    ours, scores = metrics_from_counts(counts), class_scores(*counts.totals())
    np.testing.assert_allclose(scores.iou, theirs["IoU"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(scores.accuracy, theirs["Acc"], atol=TOLERANCE, rtol=0)
    for name, key in (("miou_union", "IoU"), ("macc", "Acc"), ("pacc", "aAcc")):
        defined = np.atleast_1d(theirs[key])[~np.isnan(np.atleast_1d(theirs[key]))]
        assert same(ours[name], float(defined.mean()) if defined.size else math.nan)


@each_case
def test_counts_and_macro_jaccard_equal_the_installed_torchmetrics(case: Case, torch: Any) -> None:
    pytest.importorskip("torchmetrics", reason="needs torchmetrics (extra dev)")
    from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

    matrix = MulticlassConfusionMatrix(case.num_classes, ignore_index=case.ignore)
    jaccard = MulticlassJaccardIndex(case.num_classes, average="macro", ignore_index=case.ignore)
    for prediction, label in case.folded():
        for metric in (matrix, jaccard):
            metric.update(torch.from_numpy(prediction), torch.from_numpy(label))
    counts = case.counts()
    np.testing.assert_array_equal(counts.confusion, matrix.confmat.numpy())
    if counts.confusion.any():
        # The counts are equal, exactly; its division is in single precision whatever it is given.
        ours = metrics_from_counts(counts)["miou_union"]
        assert float(jaccard.compute()) == pytest.approx(ours, rel=2e-6)


@each_case
def test_metrics_equal_the_installed_detectron2(case: Case, torch: Any) -> None:
    evaluation = pytest.importorskip("detectron2.evaluation", reason="needs detectron2 (installed from source)")
    from detectron2.data import DatasetCatalog, MetadataCatalog

    name = f"parity: {case.name}"
    maps = {f"{i}.jpg": pair for i, pair in enumerate(case.folded())}
    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, lambda: [{"file_name": key, "sem_seg_file_name": key} for key in maps])
        MetadataCatalog.get(name).set(
            stuff_classes=[str(i) for i in range(case.num_classes)], ignore_label=case.ignore, evaluator_type="sem_seg"
        )
    load: Callable[..., Map] = lambda key, dtype: maps[key][1].astype(dtype)  # noqa: E731
    evaluator = evaluation.SemSegEvaluator(name, distributed=False, sem_seg_loading_fn=load)
    evaluator.reset()
    for key, (prediction, _) in maps.items():
        scores = torch.nn.functional.one_hot(torch.from_numpy(prediction), case.num_classes).permute(2, 0, 1)
        evaluator.process([{"file_name": key}], [{"sem_seg": scores}])
    theirs = evaluator.evaluate()["sem_seg"]
    counts = case.counts()
    ours, iou = metrics_from_counts(counts), class_scores(*counts.totals()).iou
    for name, key in (("miou_gt", "mIoU"), ("fwiou", "fwIoU"), ("macc", "mACC"), ("pacc", "pACC")):
        nothing = math.isnan(ours[name]) and not theirs[key]  # an empty sum of weights is 0 there
        assert nothing or same(ours[name], theirs[key] / 100), key
    truth = counts.totals()[1]
    for c in np.flatnonzero(truth):
        assert same(iou[c], theirs[f"IoU-{c}"] / 100)
