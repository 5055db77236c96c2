"""Predictions of an evaluation as files: a label picture per image, which ``repro score`` reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.writing import write_picture
from repro.errors import UsageError, command
from repro.files import read_json, write_json

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark

NOTE = "predictions.json"
"""In the folder: which evaluation the pictures are of, and whether they are all there."""


@dataclasses.dataclass(frozen=True)
class SavedPredictions:
    """Pictures ``folder``/<image key>.png of the evaluation with ``fingerprint``: class indices after the fold.

    8 bits for up to 255 classes, else 16.
    """

    folder: Path
    benchmark: Benchmark
    fingerprint: str

    def open(self) -> None:
        """Mark the folder as that of this evaluation; UsageError where it holds something else."""
        note = self.folder / NOTE
        other = read_json(note).get("fingerprint") if note.is_file() else None
        foreign = next(self.folder.iterdir(), None) if other is None and self.folder.is_dir() else None
        if (other is not None and other != self.fingerprint) or foreign is not None:
            raise UsageError(
                f"{self.folder} holds something other than the predictions of this evaluation",
                expected="an empty folder, or predictions of the same weights, images and protocol",
                found=f"predictions of evaluation {other}" if other else foreign,
                mend=f"name another folder: {command('--save-predictions', 'DIR')}",
            )
        if other is None:
            self._write(complete=False)

    def close(self) -> None:
        """Note that every picture is there."""
        self._write(complete=True)

    def has(self, keys: Iterable[str]) -> bool:
        """Tell whether the images called ``keys`` have their pictures."""
        return all(self._path(key).is_file() for key in keys)

    def write(self, key: str, prediction: NDArray[Any]) -> None:
        """Write the picture of one image, atomically; ``prediction`` (H, W) in prompt classes."""
        b = self.benchmark
        folded = prediction if b.background_index is None else np.minimum(prediction, b.background_index)
        write_picture(self._path(key), folded.astype(np.uint8 if b.num_classes < 256 else np.uint16))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.png"

    def _write(self, *, complete: bool) -> None:
        facts = {"benchmark": self.benchmark.id, "classes": self.benchmark.num_classes, "complete": complete}
        write_json(self.folder / NOTE, {"format": 1, "fingerprint": self.fingerprint, **facts})
