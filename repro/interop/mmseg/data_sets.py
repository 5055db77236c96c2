"""Our data sets for mmsegmentation: the same images, prepared labels and ignored pixels; and our training crops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from repro.datasets.benchmarks import all_sets, get_benchmark
from repro.datasets.images import read_label, stored_image
from repro.datasets.layout import prepared_pairs
from repro.errors import UsageError
from repro.reports.figures.colours import class_colours
from repro.training.pipeline import build_pipeline
from repro.training.settings import TrainSettings

PIPELINE = ({"type": "mmseg.LoadReproPair"}, {"type": "mmseg.PackSegInputs"})
"""What an evaluation needs: the segmentor resizes images itself, as our protocol says."""


@DATASETS.register_module()
class ReproDataset(BaseSegDataset):
    """A split of the set called ``data_set`` (A-150, ..) below ``data_root``, prepared by ``repro data prepare``.

    Labels are class indices, as stored, in 8 or 16 bits: every value from ``ignore_index`` on (by default the set's
    own: 255, 65535, or PC-459's 459) is ignored; give the same to IoUMetric. ``reduce_zero_label`` is off. Without a
    ``pipeline`` the images are left at their own size. Raises DataError where the set is not prepared.
    """

    def __init__(
        self, data_set: str, data_root: str | Path, split: str | None = None, pipeline: Any = PIPELINE, **more: Any
    ) -> None:
        if more.pop("reduce_zero_label", False):
            raise UsageError(
                "labels of our data sets begin with class 0",
                expected="reduce_zero_label=False",
                found=True,
                mend="leave reduce_zero_label out: the labels are prepared",
            )
        self.data_set, self.split = get_benchmark(data_set), split
        names = self.data_set.class_names()
        meta = {"classes": list(names), "palette": class_colours(names).tolist(), **(more.pop("metainfo", None) or {})}
        ignored = more.pop("ignore_index", self.data_set.ignore_label)
        self._root = Path(data_root)  # the base class would put it before the whole paths of the list
        super().__init__(metainfo=meta, pipeline=list(pipeline), ignore_index=ignored, **more)

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the images and labels of the split."""
        facts = {"label_map": None, "reduce_zero_label": False, "num_classes": self.data_set.num_classes}
        facts |= {"ignore_label": self.data_set.ignore_label, "ignore_index": self.ignore_index}
        return [
            {"img_path": str(pair.image), "seg_map_path": str(pair.label), "seg_fields": [], **facts}
            for pair in prepared_pairs(self.data_set, self._root, self.split)
        ]


def _register(set_id: str) -> None:
    """Register ``Repro-<id>``, which is ReproDataset of one set."""

    class OneSet(ReproDataset):
        def __init__(self, data_root: str | Path, **more: Any) -> None:
            super().__init__(set_id, data_root, **more)

    OneSet.__name__ = OneSet.__qualname__ = f"Repro{''.join(filter(str.isalnum, set_id))}"
    DATASETS.register_module(name=f"Repro-{set_id}", module=OneSet)


for _id in all_sets():
    _register(_id)


@TRANSFORMS.register_module()
class LoadReproPair(BaseTransform):
    """Reads an image as our evaluation does (Pillow, pixels as stored; BGR, as mmsegmentation has them) and its label.

    mmsegmentation's LoadAnnotations cuts labels to 8 bits.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img`` (H, W, 3) uint8 BGR, ``gt_seg_map`` (H, W) int64, and their sizes."""
        image = stored_image(Path(results["img_path"]))
        label = read_label(Path(results["seg_map_path"])).astype(np.int64)
        label[label >= results.get("ignore_label", 255)] = results.get("ignore_index", 255)
        results |= {"img": cv2.cvtColor(image, cv2.COLOR_RGB2BGR), "gt_seg_map": label}
        results |= {"img_shape": image.shape[:2], "ori_shape": image.shape[:2], "seg_fields": ["gt_seg_map"]}
        return results


@TRANSFORMS.register_module()
class ReproCrop(BaseTransform):
    """Our training augmentation (:mod:`repro.training.pipeline`) for sets with 8-bit labels: a ``crop`` x ``crop``."""

    def __init__(self, short_side: int = 384, crop: int = 384, cat_max_ratio: float = 1.0) -> None:
        self.steps = build_pipeline(TrainSettings(short_side=short_side, crop=crop, cat_max_ratio=cat_max_ratio))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Return ``results`` with image and label cropped; labels as uint8."""
        results["gt_seg_map"] = results["gt_seg_map"].astype(np.uint8)
        for step in self.steps:
            changed = step(results)
            assert changed is not None
            results = changed
        return results
