"""Unlabelled images and their regions by place in the stream of samples: nothing else decides what is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from baselines.densevlm.grid import grid_boxes, grid_pairs
from repro.benchmarks.images import read_image
from repro.errors import ReproError
from repro.regions.frame import frame_boxes, frame_image


@dataclasses.dataclass(frozen=True)
class Batch:
    """``images`` (B, 3, S, S) uint8; ``boxes`` (B, R, 4) as fractions of the frame; ``valid`` (B, R): not padding."""

    images: Tensor
    boxes: Tensor
    valid: Tensor

    def pin_memory(self) -> Batch:
        """In page-locked memory: the loader asks for it on machines with a GPU."""
        return Batch(self.images.pin_memory(), self.boxes.pin_memory(), self.valid.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """On ``device``."""
        return Batch(*(t.to(device, non_blocking=True) for t in (self.images, self.boxes, self.valid)))


class RegionSet(Dataset["Batch | ReproError"]):
    """One image and its grid by (index, position); an unreadable file is RETURNED as the DataError.

    No augmentation: the image in its frame, and one of the grid's pairs, drawn uniformly.
    """

    def __init__(self, images: Sequence[Path], side: int, max_split: int, seed: int) -> None:
        self.images, self.side, self.seed = images, side, seed
        self.pairs, self.most = grid_pairs(max_split), max_split**2

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: tuple[int, int]) -> Batch | ReproError:
        index, position = item
        try:
            image = read_image(self.images[index])
        except ReproError as error:
            return error
        rows, columns = self.pairs[np.random.default_rng((self.seed, position)).integers(len(self.pairs))]
        size = image.shape[0], image.shape[1]
        boxes, valid = torch.zeros(self.most, 4), torch.zeros(self.most, dtype=torch.bool)
        valid[: rows * columns] = True
        boxes[: rows * columns] = frame_boxes(grid_boxes(*size, rows, columns), *size, self.side)
        return Batch(frame_image(image, self.side), boxes, valid)


def collate(samples: list[Batch | ReproError]) -> Batch | ReproError:
    """A batch of stacked samples, or the first error among them."""
    good: list[Batch] = []
    for sample in samples:
        if isinstance(sample, ReproError):
            return sample
        good.append(sample)
    return Batch(*(torch.stack([getattr(s, f) for s in good]) for f in ("images", "boxes", "valid")))
