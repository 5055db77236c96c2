"""Boxes, Masks-T and Masks-S: how often a region of the dense map is nearest to the name of its category.

The yardstick of CLIPSelf and DenseVLM (docs/specs/densevlm.md, section 6). Every segment is classified among ALL
categories of its set; what is kept is the rank of the right one, from which top-1, top-5 and any resampling follow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from repro.clip.tower import ClipTower
from repro.datasets.images import stored_image
from repro.datasets.panoptic import PanopticImage, PanopticSet, read_ids
from repro.errors import DataError
from repro.files import write_atomic
from repro.metrics.miou import divide
from repro.metrics.regions.frame import frame_boxes, frame_image, frame_masks
from repro.metrics.regions.roi_align import roi_align

Group = Literal["boxes", "masks_thing", "masks_stuff"]
MAX_SEGMENTS = 100
SMALLEST_AREA, LARGEST_AREA = 64, 1024**2
"""Segments whose box has another area, in square pixels of the image, are left out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ranks:
    """One entry a segment: number of its image, category, whether that is a thing, and the rank (0 is first) of the
    category for the feature of its box and of its mask. ``images`` counts all images, those without a segment too."""

    images: int
    image: NDArray[np.int32]
    category: NDArray[np.int16]
    thing: NDArray[np.bool_]
    box: NDArray[np.int16]
    mask: NDArray[np.int16]

    def of(self, group: Group) -> tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int16]]:
        """Return image, category and rank of the segments of a group; "Boxes" are those of things only."""
        chosen = ~self.thing if group == "masks_stuff" else self.thing
        rank = self.box if group == "boxes" else self.mask
        return self.image[chosen], self.category[chosen], rank[chosen]

    def by_category(self, group: Group, k: int) -> dict[int, tuple[float, int]]:
        """Return for each category of the group's segments the share ranked below ``k``, and how many there are."""
        _, category, rank = self.of(group)
        own = {int(c): rank[category == c] < k for c in np.unique(category)}
        return {c: (float(hits.mean()), len(hits)) for c, hits in own.items()}

    def accuracy(self, group: Group, k: int) -> float:
        """Return the mean over the categories of the group's segments of the share ranked below ``k``; NaN for none.

        Each share is rounded to half precision before the mean, as in the released code.
        """
        _, category, rank = self.of(group)
        shares = [np.float16((rank[category == c] < k).mean()) for c in np.unique(category)]
        return float(np.mean(np.array(shares, np.float64))) if shares else float("nan")

    def resampled(self, group: Group, k: int, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return :meth:`accuracy`, unrounded, with image i counted ``times[i, r]`` times, (R,); NaN if none is left.

        ``times`` (images, R) as :func:`repro.stats.resample.draw_images` gives it.
        """
        image, category, rank = self.of(group)
        present = np.unique(category)
        if not len(present):
            return np.full(times.shape[1], np.nan)
        rows = np.zeros((2, len(present), self.images))
        place = np.searchsorted(present, category)
        np.add.at(rows[0], (place, image), rank < k)
        np.add.at(rows[1], (place, image), 1)
        hits, total = rows @ times
        shares = divide(hits, total)
        drawn = total.sum(axis=0) > 0
        means = np.full(times.shape[1], np.nan)
        means[drawn] = np.nanmean(shares[:, drawn], axis=0)
        return means

    def save(self, path: Path) -> None:
        """Write all arrays as npz, atomically."""
        write_atomic(path, lambda stream: np.savez_compressed(stream, **dataclasses.asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Ranks:
        """Load what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            values: dict[str, Any] = {name: stored[name] for name in stored.files}
        return cls(int(values.pop("images")), **values)


@torch.no_grad()
def classify_segments(
    tower: ClipTower,
    text: Tensor,
    data: PanopticSet,
    side: int,
    progress: Callable[[int, int], None] | None = None,
) -> Ranks:
    """Return ranks of all segments of ``data`` in images framed to ``side`` pixels, one image at a time as published.

    ``text`` (N, C) are the unit embeddings of ``data.names``. ``progress`` is called with (images done, in all).
    Raises DataError where an image and its mask differ in size or a file is unreadable.
    """
    device = tower.mean.device
    found: list[tuple[int, int, bool, int, int]] = []
    for number, item in enumerate(data.images):
        image = stored_image(item.image)
        ids = read_ids(item.mask)
        if ids.shape != image.shape[:2]:
            raise DataError(f"{item.mask} and its image differ in size", expected=image.shape[:2], found=ids.shape)
        categories, boxes, masks = _segments(item, ids, data.things)
        if categories:
            pixels = frame_image(image, side).to(device)[None].float()
            dense = F.normalize(tower.dense(pixels, size=(side, side)).map.float(), dim=1)
            fractions = frame_boxes(boxes, ids.shape[0], ids.shape[1], side).to(device)
            of_boxes = F.normalize(roi_align(dense, fractions[None])[0], dim=-1)
            of_masks = mask_features(dense[0], frame_masks(masks, dense.shape[-1]).to(device))
            truth = torch.tensor(categories, device=device)
            ranks = [rank_of(features @ text.T, truth).tolist() for features in (of_boxes, of_masks)]
            things = [data.things[c] for c in categories]
            found += zip([number] * len(categories), categories, things, *ranks, strict=True)
        if progress:
            progress(number + 1, len(data.images))
    columns = zip(*found, strict=True) if found else ([] for _ in range(5))
    kinds = (np.int32, np.int16, np.bool_, np.int16, np.int16)
    return Ranks(len(data.images), *(np.array(c, kind) for c, kind in zip(columns, kinds, strict=True)))


def _segments(
    item: PanopticImage, ids: NDArray[np.int32], things: tuple[bool, ...]
) -> tuple[list[int], NDArray[np.float32], Tensor]:
    """Return categories, boxes (R, 4) x1 y1 x2 y2 in pixels and masks (R, H, W) of the segments that are counted.

    Boxes of things are those of the annotation, of stuff the extreme pixels of its mask. Crowds count.
    """
    categories, boxes, masks = [], [], []
    for segment in item.segments[:MAX_SEGMENTS]:
        mask = ids == segment.id
        if things[segment.category]:
            x, y, width, height = segment.box
        else:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if not len(rows):
                continue
            x, y, width, height = columns[0], rows[0], columns[-1] - columns[0], rows[-1] - rows[0]
        if SMALLEST_AREA <= width * height <= LARGEST_AREA:
            categories.append(segment.category)
            boxes.append((x, y, x + width, y + height))
            masks.append(mask)
    pixels = np.stack(masks) if masks else np.zeros((0, *ids.shape), bool)
    return categories, np.array(boxes, np.float32).reshape(-1, 4), torch.from_numpy(pixels)


def mask_features(dense: Tensor, masks: Tensor) -> Tensor:
    """Return unit mean (R, C) of tokens of a normalised map (C, h, w) under each of ``masks`` (R, h, w); 0 for none."""
    weights = masks.flatten(1).to(dense.dtype)
    return F.normalize(weights @ dense.flatten(1).T / (weights.sum(dim=1, keepdim=True) + 1e-12), dim=-1)


def rank_of(scores: Tensor, truth: Tensor) -> Tensor:
    """Return how many of ``scores`` (R, N) stand before that of ``truth`` (R,); of equals the first stands first."""
    own = scores.gather(1, truth[:, None])
    earlier = torch.arange(scores.shape[1], device=scores.device) < truth[:, None]
    return ((scores > own) | ((scores == own) & earlier)).sum(dim=1)
