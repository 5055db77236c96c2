"""Data roots for the protocol tests: copies of the real samples, and PASCAL-Context fixtures made from its masks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MAT_CLASSES = 459


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in [target, *(p for p in target.rglob("*") if p.is_dir())]:
        folder.chmod(0o755)  # the samples are read-only, folders included
    return target


@pytest.fixture
def mini_real(photographs: Path, tmp_path: Path) -> Path:
    """A writable copy of the real samples: the data root the prepare commands expect."""
    return _copy(photographs, tmp_path / "mini_real")


@pytest.fixture
def context_root(photographs: Path, tmp_path: Path) -> Path:
    """The four real PASCAL-Context pairs with the annotation files mini_real lacks, made from their masks by name.

    trainval_merged.json holds uncompressed run lengths, and an older annotation below another (file order matters);
    the .mat files hold the same classes among the 459.
    """
    from scipy.io import savemat

    from repro.datasets.vocabulary import load_vocabulary

    folder = _copy(photographs / "VOCdevkit" / "VOC2010", tmp_path / "root" / "VOCdevkit" / "VOC2010")
    names: dict[int, str] = {}
    for line in (folder / "60_labels_index_order.txt").read_text().splitlines():
        number_text, _, name = line.partition(": ")
        names[int(number_text)] = {"table": "diningtable"}.get(name, name)
    pascal = {row["name"]: int(row["pascal_context_id"]) for row in load_vocabulary("pc59").rows}
    to_id: Any = np.zeros(256, np.int64)
    for value, name in names.items():
        to_id[value] = pascal.get(name, 0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    keys: list[str] = []
    (folder / "trainval").mkdir()
    for number, path in enumerate(sorted((folder / "SegmentationClassContext").glob("*.png")), start=1):
        ids = to_id[np.asarray(Image.open(path))]
        height, width = ids.shape
        images.append(
            {"image_id": number, "file_name": f"{path.stem}.jpg", "phase": "val", "height": height, "width": width}
        )
        keys.append(path.stem)
        everything = {"size": [height, width], "counts": [0, height * width]}
        # Below all others: it may show only where nothing is painted later.
        annotations.append({"image_id": number, "category_id": 431, "segmentation": everything})
        for value in np.unique(ids[ids > 0]):
            inside = (ids == value).ravel(order="F")
            changes = np.flatnonzero(np.diff(inside, prepend=False))
            counts = np.diff([0, *changes, inside.size]).tolist()
            segmentation = {"size": [height, width], "counts": counts}
            annotations.append({"image_id": number, "category_id": int(value), "segmentation": segmentation})
        savemat(folder / "trainval" / f"{path.stem}.mat", {"LabelMap": ids.astype(np.uint16)})
    other = {"image_id": 99, "file_name": "2008_000000.jpg", "phase": "train", "height": 5, "width": 5}
    document = {"images": [*images, other], "annos_segmentation": annotations, "categories": []}
    (folder / "trainval_merged.json").write_text(json.dumps(document))
    (folder / "pascalcontext_val.txt").write_text("\n".join(keys) + "\n")
    return tmp_path / "root"
