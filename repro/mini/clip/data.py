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

from repro.mini.captions import caption, salient
from repro.mini.catalogue import CONCEPTS
from repro.mini.scenes import crop_scene, render_scene

if TYPE_CHECKING:
    from repro.mini.clip.training import Phase, TinyClipRecipe


@dataclasses.dataclass(frozen=True)
class Batch:
    """``images`` (B, S, S, 3) uint8; ``tokens`` (B, L) int64; ``groups`` (B,): pairs of equal content share one."""

    images: Tensor
    tokens: Tensor
    groups: Tensor

    def pin_memory(self) -> Batch:
        """Return itself: the loader asks for it on machines with a GPU."""
        return self


def draw_window(
    rng: np.random.Generator, image: NDArray[np.uint8], labels: NDArray[np.int16], zoom: tuple[float, float], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return a window of (H, W, 3) and (H, W) whose height is a fraction ``zoom`` of it, resized to ``size`` square."""
    h, w = labels.shape
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
        images: list[NDArray[np.uint8]] = []
        named: list[list[int]] = []
        # Without replacement: two crops of one concept in a batch would be each other's false negatives.
        for concept in np.resize(rng.permutation(len(CONCEPTS)), crops):
            scene = crop_scene(rng, int(concept), phase.side, phase.crop_scale, phase.grain, recipe.image_size)
            images.append(scene.image)
            named.append([int(concept)])
        while len(images) < phase.batch:
            self._windows(rng, phase, images, named)
        texts = [caption(rng, concepts) for concepts in named]
        keys = [tuple(sorted(concepts)) for concepts in named]
        index = {key: group for group, key in enumerate(dict.fromkeys(keys))}
        tokens = tokenize(texts, recipe.context_length)
        # The text tower is causal: columns after the last end-of-text token change nothing and cost time.
        used = int((tokens != 0).any(0).sum())
        return Batch(torch.from_numpy(np.stack(images)), tokens[:, :used], torch.tensor([index[k] for k in keys]))

    def _windows(
        self, rng: np.random.Generator, phase: Phase, images: list[NDArray[np.uint8]], named: list[list[int]]
    ) -> None:
        side = round(self.recipe.image_size * self.recipe.scene_scale)
        scene = render_scene(rng, side, round(side * 1.25))
        part = phase.side / self.recipe.image_size
        zoom = (phase.zoom[0] * part, phase.zoom[1] * part)
        for _ in range(min(phase.windows, phase.batch - len(images))):
            window, labels = draw_window(rng, scene.image, scene.concepts, zoom, phase.side)
            images.append(np.ascontiguousarray(window[:, ::-1]) if rng.random() < 0.5 else window)
            named.append(salient(rng, labels, phase.stuff_named))


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
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


__all__ = ["Batch", "PairStream", "draw_window", "tokenize"]
