"""What detectron2's and mmsegmentation's own evaluators made of fixed predictions, recorded, beside our counts.

Each record is compared with the library itself where that is installed, and with our counts everywhere.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_set import NAMES, TinyBenchmark, TinyPair, write_pairs

from repro.metrics.counts import Counts, CountsBuilder
from repro.metrics.miou import metrics_from_counts

RECORD = Path(__file__).parent / "recorded" / "other_evaluators.json"
BENCHMARK = TinyBenchmark(names=(*NAMES, "pink", "brown"))
"""Two classes are predicted and never there: both conventions of the mean differ."""


def needs(library: str) -> Any:
    absent = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(absent, reason=f"needs {library}: docs/interop.md")


def predictions(pairs: list[TinyPair]) -> dict[str, np.ndarray]:
    """Of each image its label, a third of whose blocks of 8 pixels are some class instead."""
    found = {}
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng((3, number))
        label = np.asarray(Image.open(pair.label)).astype(np.int64)
        shape = (-(-label.shape[0] // 8), -(-label.shape[1] // 8))
        other = rng.integers(0, BENCHMARK.num_classes, shape).repeat(8, 0).repeat(8, 1)
        wrong = (rng.random(shape) < 0.33).repeat(8, 0).repeat(8, 1)
        inside = np.s_[: label.shape[0], : label.shape[1]]
        found[pair.key] = np.where(wrong[inside] | (label == 255), other[inside], label)
    return found


def counted(folder: Path) -> Counts:
    pairs = write_pairs(folder)
    builder = CountsBuilder(BENCHMARK.num_classes, BENCHMARK.ignore_label)
    for key, prediction in predictions(pairs).items():
        label = next(np.asarray(Image.open(p.label)) for p in pairs if p.key == key)
        builder.add(key, prediction, label)
    return builder.build()


def of_detectron2(folder: Path) -> Mapping[str, float]:
    """The figures of SemSegEvaluator, in percent."""
    import torch

    from repro.interop.libraries import need

    need("detectron2")
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.evaluation import SemSegEvaluator

    pairs = write_pairs(folder)
    items = [{"file_name": str(pair.image), "sem_seg_file_name": str(pair.label)} for pair in pairs]
    DatasetCatalog.register("tiny_recorded", lambda: items)
    MetadataCatalog.get("tiny_recorded").set(stuff_classes=list(BENCHMARK.names), ignore_label=255)
    try:
        judge = SemSegEvaluator("tiny_recorded", distributed=False)
        judge.reset()
        for item, prediction in zip(items, predictions(pairs).values(), strict=True):
            maps = torch.nn.functional.one_hot(torch.from_numpy(prediction), BENCHMARK.num_classes).permute(2, 0, 1)
            judge.process([item], [{"sem_seg": maps}])
        found = judge.evaluate()["sem_seg"]
    finally:
        DatasetCatalog.remove("tiny_recorded")
        MetadataCatalog.remove("tiny_recorded")
    return {name: float(found[name]) for name in ("mIoU", "fwIoU", "mACC", "pACC")}


def of_mmseg(folder: Path) -> Mapping[str, float]:
    """The figures of IoUMetric, in percent with two digits."""
    import torch

    from repro.interop.libraries import need

    need("mmseg")
    from mmseg.evaluation import IoUMetric

    metric = IoUMetric(ignore_index=255)
    metric.dataset_meta = {"classes": list(BENCHMARK.names)}
    pairs = write_pairs(folder)
    for pair, prediction in zip(pairs, predictions(pairs).values(), strict=True):
        label = torch.from_numpy(np.asarray(Image.open(pair.label)).astype(np.int64))
        sample = {"pred_sem_seg": {"data": torch.from_numpy(prediction)[None]}, "gt_sem_seg": {"data": label[None]}}
        metric.process({}, [sample])
    return {name: round(float(value), 2) for name, value in metric.evaluate(len(pairs)).items()}


def recorded() -> Any:
    return json.loads(RECORD.read_text(encoding="utf-8"))


def test_our_counts_give_what_semsegevaluator_gave(tmp_path: Path) -> None:
    ours, theirs = metrics_from_counts(counted(tmp_path)), recorded()["detectron2"]
    for name, own in (("mIoU", "miou_gt"), ("fwIoU", "fwiou"), ("mACC", "macc"), ("pACC", "pacc")):
        assert 100 * ours[own] == pytest.approx(theirs[name], abs=1e-9)


def test_our_counts_give_what_ioumetric_gave(tmp_path: Path) -> None:
    ours, theirs = metrics_from_counts(counted(tmp_path)), recorded()["mmseg"]
    assert round(100 * ours["miou_union"], 2) == theirs["mIoU"]
    assert round(100 * ours["pacc"], 2) == theirs["aAcc"]
    assert ours["miou_union"] < ours["miou_gt"] - 0.05


@pytest.mark.interop
@needs("detectron2")
def test_the_record_is_what_semsegevaluator_gives(tmp_path: Path) -> None:
    assert of_detectron2(tmp_path) == pytest.approx(recorded()["detectron2"], abs=1e-9)


@pytest.mark.interop
@needs("mmseg")
def test_the_record_is_what_ioumetric_gives(tmp_path: Path) -> None:
    assert of_mmseg(tmp_path) == recorded()["mmseg"]
