"""Dense maps of a CLIP tower: how near each place of an image is to the name of each class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repro.configuration.backbone import swap
from repro.configuration.profiles import load_profile
from repro.measuring.figures import ImageData
from repro.measuring.regions import RegionSettings
from repro.runs.assets import Assets
from repro.runs.store import RunStore

if TYPE_CHECKING:
    from torch import Tensor

    from repro.clip.tower import ClipTower

SIMILARITY = "similarity"
"""The map of :func:`dense_data`: cosines of places with the name of a class."""


@dataclasses.dataclass(frozen=True)
class ShownTower:
    """A tower to draw: the ``name`` it was asked for by, and where its ``key`` leads to weights."""

    name: str
    key: str
    assets: Assets

    @property
    def title(self) -> str:
        """What the profile, or its source, calls it."""
        return self.assets.profile.towers[self.key].title

    @property
    def settings(self) -> RegionSettings:
        """How regions of the profile are looked at: the frame and the prompts."""
        return RegionSettings.of(self.assets.profile.regions)

    def build(self, device: str) -> ClipTower:
        """Build it, made first where that is still to do; WeightsError for weights that are not there."""
        from repro.clip.tower import build_tower

        return build_tower(self.assets.ensure_tower(self.key)).to(device)


def shown_tower(name: str, profile: str, runs: Path, data_root: Path | None) -> ShownTower:
    """Find a tower of ``profile`` by its key, or a CLIP by ``SOURCE:WHAT`` read out as the tower ``base``.

    Raises UsageError for an unknown tower, source or model, WeightsError for a file that is no CLIP.
    """
    source = name if ":" in name else None
    key = "base" if source else name
    loaded = load_profile(profile)
    if source is not None:
        loaded = swap(loaded, source, tower=key, cache=RunStore(runs).cache)
    loaded.tower(key)  # or an error that names those there are
    return ShownTower(name, key, Assets(loaded, runs, data_root))


def class_text(tower: ClipTower, names: Sequence[str], shown: ShownTower) -> Tensor:
    """Return unit text embeddings (N, C) of ``names`` over the profile's prompts for regions."""
    import torch.nn.functional as F

    from repro.metrics.regions.prompts import VILD63, category_embeddings

    cache = shown.assets.store.cache / "text"
    return F.normalize(category_embeddings(tower, names, cache, shown.settings.templates or VILD63), dim=-1)


def dense_data(
    tower: ClipTower,
    text: Tensor,
    side: int,
    key: str,
    image: NDArray[np.uint8],
    label: NDArray[Any] | None,
    chosen: Sequence[int],
) -> ImageData:
    """Return cosines of every place of ``image`` (H, W, 3), framed to ``side`` pixels, with ``text`` (N, C).

    ``prediction`` (H, W) is the nearest class of the place a pixel lies in, which shows the places. The map
    ``similarity`` (n, h, w) of the ``chosen`` classes is interpolated between places; h and w are those of the image in
    its frame.
    """
    import torch
    import torch.nn.functional as F

    from repro.metrics.regions.frame import frame_image, framed_size

    device = tower.mean.device
    with torch.no_grad():
        pixels = frame_image(image, side).to(device)[None].float()
        dense = F.normalize(tower.dense(pixels, size=(side, side)).map.float(), dim=1)
        cosines = torch.einsum("nc,chw->nhw", text.float(), dense[0])
        smooth = F.interpolate(cosines[None, list(chosen)], (side, side), mode="bilinear", align_corners=False)[0]
    height, width = framed_size(image.shape[0], image.shape[1], side)
    nearest = cosines.argmax(dim=0).cpu().numpy()
    prediction = nearest[_places(image.shape[0], height, side, nearest.shape[0])][
        :, _places(image.shape[1], width, side, nearest.shape[1])
    ]
    maps = {SIMILARITY: smooth[:, :height, :width].cpu().numpy()}
    return ImageData(key, image, label, prediction.astype(np.int64), tuple(chosen), maps)


def _places(pixels: int, framed: int, side: int, grid: int) -> NDArray[np.int64]:
    """Return for each of ``pixels``, of which the frame of ``side`` shows ``framed``, the place it lies in."""
    within = (np.arange(pixels) + 0.5) / pixels * framed / side
    return np.minimum((within * grid).astype(np.int64), grid - 1)
