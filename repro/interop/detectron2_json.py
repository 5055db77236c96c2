"""Predictions as detectron2's SemSegEvaluator writes them: one JSON file of run lengths, by category id."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.prepare.rle import decode_indices
from repro.errors import DataError
from repro.hashing import file_digest
from repro.interop.predictions import Numbers, Predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repro.datasets.benchmarks import Benchmark

JSON_FILE = "sem_seg_predictions.json"
"""What the evaluator writes into its output folder."""


class JsonPredictions(Predictions):
    """detectron2's list of ``{file_name, category_id, segmentation}``: a mask in run lengths per image and class.

    Category ids are class indices, those that ``numbers`` name, or, where one is no class index, those of the set's
    official metadata (A-847). Raises DataError for a file of another form.
    """

    format = "detectron2 JSON"

    def __init__(self, source: Path, benchmark: Benchmark, numbers: Numbers) -> None:
        self._segments = _read_segments(source)
        largest = max((c for segments in self._segments.values() for c, _ in segments), default=0)
        if not numbers.ids and largest >= numbers.first + benchmark.num_classes:
            numbers = Numbers(numbers.first, benchmark.category_ids())
        super().__init__(source, benchmark, numbers)

    @property
    def keys(self) -> Collection[str]:
        return self._segments.keys()

    def content(self) -> str:
        return file_digest(self.source, 16)

    def _values(self, key: str, size: tuple[int, int]) -> tuple[NDArray[np.int64], str]:
        del size
        import numpy as np

        where = f"the prediction of {key} in {self.source}"
        try:
            height, width = (int(v) for v in self._segments[key][0][1]["size"])  # another size is said by who reads
            flat = np.full(height * width, -1, np.int64)
            for category, segmentation in self._segments[key]:
                own = decode_indices(segmentation, height, width)
                if (flat[own] != -1).any():
                    raise ValueError(f"category {category} covers pixels that another one has")
                flat[own] = category
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise DataError(
                f"{where} cannot be decoded",
                expected="masks in COCO's run lengths that do not overlap",
                found=error,
                mend="write the file again: SemSegEvaluator gives each pixel to one class",
            ) from error
        return flat.reshape(width, height).T, where


def read_category_ids(path: Path, benchmark: Benchmark) -> tuple[int, ...]:
    """Read the category ids of the classes: a JSON list in class order, or detectron2's object from id to index."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(stored, Mapping):
            by_index = {int(index): int(category) for category, index in stored.items()}
            stored = [by_index[i] for i in range(len(by_index))]
        ids = tuple(int(v) for v in stored)
        if len(set(ids)) != len(ids) or len(ids) != benchmark.num_classes:
            raise ValueError(f"{len(set(ids))} different ids")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} does not hold the category ids of {benchmark.id}",
            expected=f"{benchmark.num_classes} different ids in class order, or an object from id to class index",
            found=error,
            mend="json.dump(MetadataCatalog.get(DATASET).stuff_dataset_id_to_contiguous_id, open(FILE, 'w'))",
        ) from error
    return ids


def json_file(source: Path) -> Path | None:
    """Return the JSON file that ``source`` is or, as a folder, holds; None where there is none."""
    if source.is_dir():
        return source / JSON_FILE if (source / JSON_FILE).is_file() else None
    return source if source.suffix == ".json" and source.is_file() else None


def _read_segments(source: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    try:
        for entry in json.loads(source.read_text(encoding="utf-8")):
            name = str(entry["file_name"]).replace("\\", "/").rpartition("/")[2]
            segment = (int(entry["category_id"]), entry["segmentation"])
            found.setdefault(name.rpartition(".")[0] or name, []).append(segment)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{source} is no file of predictions",
            expected="detectron2's list of objects with file_name, category_id and segmentation",
            found=f"{type(error).__name__}: {error}",
            mend="the file is written by SemSegEvaluator(DATASET, output_dir=DIR) when the evaluation ends",
        ) from error
    return found
