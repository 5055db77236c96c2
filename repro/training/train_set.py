"""Training crops by (index, position): what a crop looks like depends on its place in the stream and nothing else."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from repro.datasets.images import read_label, stored_image
from repro.errors import DataError, ReproError, command
from repro.training.pipeline import IGNORED, augment, build_pipeline, seeded
from repro.training.settings import TrainSettings

_MEND = command("repro", "data", "prepare", "coco-stuff", "--data-root", "ROOT", "--again")


KEPT_BYTES = 256 << 20
"""Memory for decoded pairs of a training without workers, see :class:`TrainSet`."""


class ImagePair(Protocol):
    """An image and its label map on disk (``repro.datasets.layout.Pair``)."""

    @property
    def key(self) -> str: ...
    @property
    def image(self) -> Path: ...
    @property
    def label(self) -> Path: ...


class Sample(TypedDict):
    """One crop, or a batch of them: uint8 RGB (B, 3, S, S), uint8 labels (B, S, S), stream positions (B,)."""

    image: Tensor
    label: Tensor
    position: Tensor


class TrainSet(Dataset["Sample | ReproError"]):
    """Augmented crops of ``pairs``, whose labels are 0..num_classes-1 or 255.

    An unreadable file or a label outside the vocabulary is RETURNED as the DataError, because a DataLoader worker
    that raises would reduce it to text; :func:`collate` hands it on and the training loop raises it.

    Without workers, decoding is time of the steps: decoded pairs are kept, up to ``KEPT_BYTES``, for later epochs. A
    file is then read once: what is written to it during the training is not seen.
    """

    def __init__(self, pairs: Sequence[ImagePair], num_classes: int, settings: TrainSettings, seed: int) -> None:
        if num_classes > IGNORED:
            raise ValueError(f"training labels are 8-bit: at most {IGNORED} classes, not {num_classes}")
        self.pairs, self.num_classes, self.seed = pairs, num_classes, seed
        self.pipeline = build_pipeline(settings)
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._room = 0 if settings.workers else KEPT_BYTES

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, item: tuple[int, int]) -> Sample | ReproError:
        index, position = item
        try:
            image, label = self._kept.get(index) or self._keep(index, *self.load(index))
        except ReproError as error:
            return error
        with seeded(self.seed, position):
            image, label = augment(self.pipeline, image, label)
        return {
            "image": torch.from_numpy(image).permute(2, 0, 1).contiguous(),
            "label": torch.from_numpy(label),
            "position": torch.tensor(position),
        }

    def place(self, index: int) -> str:
        """Say which image that of number ``index`` is."""
        return str(self.pairs[index].image)

    def _keep(self, index: int, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = image.nbytes + label.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[index] = image, label
        return image, label

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Load the uint8 RGB image (H, W, 3) and labels (H, W) of pair ``index``; DataError when they do not fit."""
        pair = self.pairs[index]
        image, label = stored_image(pair.image), read_label(pair.label)
        if image.shape[:2] != label.shape:
            raise DataError(
                f"image and label of {pair.key} differ in size",
                expected=f"{image.shape[0]}x{image.shape[1]} ({pair.image})",
                found=f"{label.shape[0]}x{label.shape[1]} ({pair.label})",
                mend=_MEND,
            )
        present = np.flatnonzero(np.bincount(label.ravel()))
        strange = present[(present >= self.num_classes) & (present != IGNORED)]
        if strange.size:
            raise DataError(
                f"label {pair.label} holds a value outside the vocabulary",
                expected=f"0..{self.num_classes - 1} or {IGNORED} (ignored)",
                found=f"{int(strange[0])}",
                mend=_MEND,
            )
        return image, label.astype(np.uint8)


def collate(samples: Sequence[Mapping[str, Tensor] | ReproError]) -> dict[str, Tensor] | ReproError:
    """Stack samples, of masks or of names, into a batch, or return the first error among them."""
    good: list[Mapping[str, Tensor]] = []
    for sample in samples:
        if isinstance(sample, ReproError):
            return sample
        good.append(sample)
    return {name: torch.stack([s[name] for s in good]) for name in good[0]}


def start_worker(_: int) -> None:
    """Prepare a DataLoader worker: one thread, and Ctrl-C left to the parent, which stops the worker itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
