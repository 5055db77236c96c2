"""The few training images that controls are taken on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from repro.datasets.images import read_label, stored_image
from repro.datasets.layout import Pair
from repro.evaluation.zero_shot import middle_square
from repro.layers.losses import IGNORED


def squares(pairs: Sequence[Pair], count: int, side: int) -> tuple[Tensor, Tensor]:
    """Return the middle square of ``count`` of ``pairs``, evenly spread: images (B, 3, side, side), 0..255, labels
    (B, side, side), 255 unlabelled. Images are resized with antialiasing, labels to the nearest pixel.

    Raises DataError for an unreadable file.
    """
    images, labels = [], []
    for index in np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int)):
        image, label = (
            middle_square(read(path))
            for read, path in ((stored_image, pairs[index].image), (read_label, pairs[index].label))
        )
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        images.append(F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)[0])
        own = torch.from_numpy(label.astype(np.int64))[None, None].double()
        labels.append(F.interpolate(own, (side, side), mode="nearest-exact")[0, 0].long())
    return torch.stack(images).clamp(0, 255), torch.stack(labels)


def only_present(labels: Tensor, classes: int) -> tuple[Tensor, list[int]]:
    """Return ``labels`` (B, H, W) renumbered to the classes that occur, and the indices of these among ``classes``."""
    present = [int(c) for c in labels.unique() if c < classes]
    table = torch.full((int(labels.max()) + 2,), IGNORED)
    table[torch.tensor(present, dtype=torch.long)] = torch.arange(len(present))
    return table[labels], present
