"""Unlabelled images and their regions by place in the stream of samples: nothing else decides what is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from baselines.densevlm.grid import grid_boxes, grid_pairs
from repro.datasets.images import read_image, read_label, stored_image
from repro.errors import ReproError
from repro.metrics.regions.frame import frame_boxes, frame_image


@dataclasses.dataclass(frozen=True)
class Batch:
    """``images`` (B, 3, S, S) uint8; ``boxes`` (B, R, 4) as fractions of the frame; ``valid`` (B, R): not padding."""

    images: Tensor
    boxes: Tensor
    valid: Tensor
    shares: Tensor | None = None
    """(B, R, N): what each class has of a region's labelled pixels, where labels are known; 0 without such a pixel."""

    def pin_memory(self) -> Batch:
        """Move the batch to page-locked memory: the loader asks for it on machines with a GPU."""
        shares = None if self.shares is None else self.shares.pin_memory()
        return Batch(self.images.pin_memory(), self.boxes.pin_memory(), self.valid.pin_memory(), shares)

    def to(self, device: torch.device) -> Batch:
        """Move the batch to ``device``."""
        parts = (self.images, self.boxes, self.valid, self.shares)
        return Batch(*(None if t is None else t.to(device, non_blocking=True) for t in parts))  # type: ignore[arg-type]


class RegionSet(Dataset["Batch | ReproError"]):
    """One image and its grid by (index, position); an unreadable file is RETURNED as the DataError.

    No augmentation: the image in its frame, and one of the grid's pairs, drawn uniformly. ``labels`` are the label maps
    of the images, 0 .. ``classes`` - 1 or unlabelled, where samples are to have shares.
    """

    def __init__(
        self,
        images: Sequence[Path],
        side: int,
        max_split: int,
        seed: int,
        labels: Sequence[Path] = (),
        classes: int = 0,
    ) -> None:
        self.images, self.side, self.seed, self.labels, self.classes = images, side, seed, labels, classes
        self.pairs, self.most = grid_pairs(max_split), max_split**2

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: tuple[int, int]) -> Batch | ReproError:
        index, position = item
        try:
            # Beside a label, an image is read as its pixels are stored.
            image = (stored_image if self.labels else read_image)(self.images[index])
            label = read_label(self.labels[index]) if self.labels else None
        except ReproError as error:
            return error
        rows, columns = self.pairs[np.random.default_rng((self.seed, position)).integers(len(self.pairs))]
        size = image.shape[0], image.shape[1]
        boxes, valid = torch.zeros(self.most, 4), torch.zeros(self.most, dtype=torch.bool)
        valid[: rows * columns] = True
        cells = grid_boxes(*size, rows, columns)
        boxes[: rows * columns] = frame_boxes(cells, *size, self.side)
        shares = None
        if label is not None:
            shares = torch.zeros(self.most, self.classes)
            shares[: rows * columns] = region_shares(label, cells, self.classes)
        return Batch(frame_image(image, self.side), boxes, valid, shares)


def region_shares(label: NDArray[np.integer], cells: NDArray[np.float32], classes: int) -> Tensor:
    """Return shares (R, N) of ``classes`` classes among the labelled pixels of ``cells`` (R, 4) of ``label`` (H, W).

    Cells are x1 y1 x2 y2 in pixels, rounded to whole ones and at least one each way.
    """
    shares = torch.zeros(len(cells), classes)
    for row, (left, top, right, bottom) in zip(shares, np.round(cells).astype(int).tolist(), strict=True):
        part = label[top : max(bottom, top + 1), left : max(right, left + 1)]
        counts = np.bincount(part[part < classes].ravel(), minlength=classes)
        row += torch.from_numpy(counts / max(1, counts.sum()))
    return shares


def collate(samples: list[Batch | ReproError]) -> Batch | ReproError:
    """Stack samples into a batch, or return the first error among them."""
    good: list[Batch] = []
    for sample in samples:
        if isinstance(sample, ReproError):
            return sample
        good.append(sample)
    shares = [s.shares for s in good if s.shares is not None]
    images, boxes, valid = (torch.stack([getattr(s, f) for s in good]) for f in ("images", "boxes", "valid"))
    return Batch(images, boxes, valid, torch.stack(shares) if shares else None)
