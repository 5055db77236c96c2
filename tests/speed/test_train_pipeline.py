"""Training crops from real JPEGs on one core. Run: pytest tests/speed/test_train_pipeline.py --benchmark-only."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from in_turn import least_seconds
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from repro.datasets.layout import Pair
from repro.datasets.sets import coco_stuff
from repro.training.settings import TrainSettings
from repro.training.train_set import TrainSet

pytest.importorskip("mmseg")
TIMES_DECODING = 3


@pytest.fixture
def pairs(photographs: Path, tmp_path: Path) -> list[Pair]:
    """The real COCO photographs of the samples (most 640 x 480) with prepared labels."""
    root, found = photographs / "coco-stuff", []
    for image in sorted((root / "images" / "train2017").glob("*.jpg")):
        mask = root / "annotations" / "train2017" / f"{image.stem}.png"
        label = tmp_path / mask.name
        Image.fromarray(coco_stuff.DATA_SET.convert_mask(np.asarray(Image.open(mask)))).save(label)
        found.append(Pair(image.stem, image, label))
    return found


def test_a_crop_takes_less_than_three_times_the_decoding_of_its_files(
    benchmark: BenchmarkFixture, pairs: list[Pair]
) -> None:
    """From the files to the tensors of a sample, at the published 384; in CPU time."""
    crops = TrainSet(pairs, 171, TrainSettings(), seed=0)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:

        def epoch() -> dict[str, float]:
            begin = time.process_time()
            for index in range(len(crops)):
                crops.load(index)
            middle = time.process_time()
            for index in range(len(crops)):
                crops[index, index]
            return {"decode": middle - begin, "all": time.process_time() - middle}

        found = least_seconds(benchmark, epoch, lambda s: s["all"] < TIMES_DECODING * s["decode"], rounds=5)
    finally:
        cv2.setNumThreads(threads)
    share = found["decode"] / found["all"]
    benchmark.extra_info.update(
        images_per_second=round(len(crops) / found["all"], 1), share_of_decoding=round(share, 2)
    )
