"""Batches the tiny CLIP learns from: crops and windows of fresh scenes with captions, a pure function of the step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from repro.mini.captions import caption, listed, salient
from repro.mini.catalogue import CONCEPTS
from repro.mini.scenes import crop_scene, render_scene
from repro.runtime import import_torchvision

if TYPE_CHECKING:
    from repro.mini.clip.training import Phase, TinyClipRecipe


_MOST_THINGS = 1024  # above the number of things of any scene
_SMALLEST = 0.6


@dataclasses.dataclass(frozen=True)
class Batch:
    """``images`` (B, S, S, 3) uint8; ``tokens`` (B, L) int64; ``groups`` (B,): pairs of equal content share one.

    ``words`` (W, L) are token ids of captions of single concepts, each of the batch in any order; ``named`` (M, 2) are
    pairs (image, word) that a caption names; ``listed`` (B,) says which captions list all that is there; ``regions``
    (R, 2) are pairs (image, word) of the regions that are supervised and ``cover`` (R, g * g) the share of each patch
    that is theirs. The last five are empty where a phase has no use for them.
    """

    images: Tensor
    tokens: Tensor
    groups: Tensor
    words: Tensor
    named: Tensor
    listed: Tensor
    regions: Tensor
    cover: Tensor

    def pin_memory(self) -> Batch:
        """Return itself: the loader asks for it on machines with a GPU."""
        return self


def draw_window(
    rng: np.random.Generator, image: NDArray[np.uint8], labels: NDArray[np.int16], zoom: tuple[float, float], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return a window of (H, W, 3) and (H, W, ..), a fraction ``zoom`` of their height; its image ``size`` square."""
    h, w = labels.shape[:2]
    z = rng.uniform(*zoom)
    wh = max(8, round(z * h))
    ww = min(w, max(8, round(wh * rng.uniform(0.85, 1.3))))
    y, x = int(rng.integers(h - wh + 1)), int(rng.integers(w - ww + 1))
    part = image[y : y + wh, x : x + ww]
    method = cv2.INTER_AREA if wh > size else cv2.INTER_LINEAR
    resized = cv2.resize(part, (size, size), interpolation=method)
    return np.asarray(resized, np.uint8), labels[y : y + wh, x : x + ww]


class PairStream(Dataset[Batch]):
    """``stream[step]`` is the batch of that step; nothing else enters it, so that training resumes exactly."""

    def __init__(self, recipe: TinyClipRecipe) -> None:
        self.recipe = recipe

    def __len__(self) -> int:
        return self.recipe.steps

    def __getitem__(self, step: int) -> Batch:
        recipe = self.recipe
        phase, done = recipe.phase_at(step)
        cv2.setNumThreads(0)
        rng = np.random.default_rng([recipe.seed, 1, step])
        crops = round((phase.crops_first + (phase.crops_last - phase.crops_first) * done) * phase.batch)
        pictures = [self._crop(rng, phase, int(c)) for c in np.resize(rng.permutation(len(CONCEPTS)), crops)]
        while len(pictures) < phase.batch:
            pictures += self._windows(rng, phase, phase.batch - len(pictures))
        texts = [caption(rng, picture.named) for picture in pictures]
        keys = [tuple(sorted(picture.named)) for picture in pictures]
        index = {key: group for group, key in enumerate(dict.fromkeys(keys))}
        return Batch(
            torch.from_numpy(np.stack([picture.image for picture in pictures])),
            _shortened(tokenize(texts, recipe.context_length)),
            torch.tensor([index[k] for k in keys]),
            *self._words(rng, phase, pictures),
        )

    def _words(self, rng: np.random.Generator, phase: Phase, pictures: list[Picture]) -> tuple[Tensor, ...]:
        nothing = torch.empty(0, dtype=torch.int64)
        regions, cover = nothing, nothing
        if not (phase.word_weight or phase.list_weight or phase.region_weight):
            return nothing, nothing, nothing, regions, cover
        seen = range(len(CONCEPTS)) if phase.region_weight else sorted({c for p in pictures for c in p.named})
        position = {concept: number for number, concept in enumerate(seen)}
        words = _shortened(tokenize([caption(rng, [concept]) for concept in seen], self.recipe.context_length))
        named = [(image, position[c]) for image, picture in enumerate(pictures) for c in picture.named]
        if phase.region_weight:
            grid = phase.side // self.recipe.patch_size
            found = [(i, c, part) for i, p in enumerate(pictures) for c, part in picture_regions(p, grid)]
            regions = torch.tensor([(image, position[concept]) for image, concept, _ in found])
            cover = torch.from_numpy(np.stack([part for _, _, part in found]))
        return words, torch.tensor(named), torch.tensor([p.listed for p in pictures]), regions, cover

    def _crop(self, rng: np.random.Generator, phase: Phase, concept: int) -> Picture:
        scene = crop_scene(rng, concept, phase.side, phase.crop_scale, phase.grain, self.recipe.image_size)
        whole = rng.random() < phase.listed
        named = listed(scene.concepts) if whole else [concept]
        return Picture(scene.image, scene.concepts, scene.instances, named, whole)

    def _windows(self, rng: np.random.Generator, phase: Phase, most: int) -> list[Picture]:
        part = phase.side / self.recipe.image_size
        side = round(self.recipe.image_size * self.recipe.scene_scale * max(1, part))
        scene = render_scene(rng, side, round(side * 1.25))
        maps = np.dstack([scene.concepts, scene.instances])
        zoom = (phase.zoom[0] * min(1, part), phase.zoom[1] * min(1, part))
        pictures = []
        for _ in range(min(phase.windows, most)):
            window, part_of_maps = draw_window(rng, scene.image, maps, zoom, phase.side)
            if rng.random() < 0.5:
                window, part_of_maps = np.ascontiguousarray(window[:, ::-1]), part_of_maps[:, ::-1]
            labels, instances = part_of_maps[..., 0], part_of_maps[..., 1]
            whole = rng.random() < phase.listed
            named = listed(labels) if whole else salient(rng, labels, phase.stuff_named)
            pictures.append(Picture(window, labels, instances, named, whole))
        return pictures


@dataclasses.dataclass(frozen=True)
class Picture:
    """``image`` (S, S, 3), ``concepts`` and ``instances`` (H, W) of the same view; its caption names ``named``.

    ``listed``: the caption lists all that is there.
    """

    image: NDArray[np.uint8]
    concepts: NDArray[np.int16]
    instances: NDArray[np.int16]
    named: list[int]
    listed: bool


def patch_labels(labels: NDArray[np.int16], grid: int) -> NDArray[np.int64]:
    """Return the majority label (grid * grid,) of every patch of labels (H, W)."""
    fine = cv2.resize(labels, (grid * 16, grid * 16), interpolation=cv2.INTER_NEAREST)
    blocks = fine.reshape(grid, 16, grid, 16).transpose(0, 2, 1, 3).reshape(grid * grid, 256)
    return np.array([np.bincount(block).argmax() for block in blocks])


def picture_regions(picture: Picture, grid: int) -> list[tuple[int, NDArray[np.float32]]]:
    """Return (concept, cover) of every region: each stuff concept, each thing, and the box of each thing.

    ``cover`` (grid * grid,) float32 is the share of every patch that is the region's. A region that covers less than
    ``_SMALLEST`` patches in all is left out, unless it is the largest.
    """
    codes = picture.concepts.astype(np.int32) * _MOST_THINGS + picture.instances
    found: list[tuple[int, NDArray[np.float32]]] = []
    seen, sizes = np.unique(codes, return_counts=True)
    for code, size in zip(seen.tolist(), sizes.tolist(), strict=True):
        if size < sizes.max() and size * grid * grid < _SMALLEST * codes.size:
            continue
        concept, mask = code // _MOST_THINGS, codes == code
        parts = [mask]
        if code % _MOST_THINGS:
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            box = np.zeros_like(mask)
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
            parts.append(box)
        for part in parts:
            cover = cv2.resize(part.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
            found.append((concept, np.asarray(cover.ravel(), np.float32)))
    return found


def _shortened(tokens: Tensor) -> Tensor:
    """Drop columns after the last end-of-text token: the text tower is causal, they change nothing and cost time."""
    return tokens[:, : int((tokens != 0).any(0).sum())]


def tokenize(texts: list[str], context_length: int) -> Tensor:
    """Return token ids (N, L) of open_clip's own tokenizer, zero-padded, EOT kept."""
    return torch.stack([_tokens(text, context_length) for text in texts])


@lru_cache(maxsize=1 << 16)
def _tokens(text: str, context_length: int) -> Tensor:
    """Tokenize each text once: captions repeat, and doing it anew takes an eighth of a batch's time."""
    tokens: Tensor = _tokenizer()(text, context_length)
    return tokens[0]


@cache
def _tokenizer() -> Callable[[str, int], Tensor]:
    import_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


__all__ = ["Batch", "PairStream", "Picture", "draw_window", "patch_labels", "picture_regions", "tokenize"]
