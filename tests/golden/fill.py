"""Weights by name and inputs by seed: what the official CAT-Seg network was given when it was recorded.

Every entry of the official state_dict ("sem_seg_head.predictor.clip_model.visual.conv1.weight", ...) is drawn from its
own name, in C order and in one call:

    rng = numpy.random.default_rng(zlib.crc32(name.encode("utf-8")))
    value = offset + rng.standard_normal(shape, dtype=numpy.float32) * s

with s rounded to float32 first. The first line that fits a name gives offset and s:

    attn_mask, logit_scale (ends of names)                      left as built
    padding_tokens, padding_guidance                            0, 0.5
    token_embedding.weight                                      0, 1
    positional_embedding                                        0, 0.3
    class_embedding                                             0, 1
    one dimension, ends with weight (norms)                     1, 0.02
    one dimension otherwise (biases)                            0, 0.02
    transformer.conv1.weight (embedding of the correlation)     0, 1
    text_guidance_projection.0.weight                           0, 1
    head.weight (the decoder's last convolution)                0, 0.25
    q_proj_weight, k_proj_weight                                0, 1.5 / sqrt(shape[1])
    visual.proj, text_projection, upsample1.weight,
    upsample2.weight, .up.weight: stored (in, out, ...)         0, 1 / sqrt(shape[0])
    everything else                                             0, 1 / sqrt(product of shape[1:])
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def scale(name: str, shape: Sequence[int]) -> tuple[float, float] | None:
    """Offset and factor of an entry; None for one that is left as built."""
    if name.endswith(("attn_mask", "logit_scale")):
        return None
    if name.endswith(("padding_tokens", "padding_guidance")):
        return 0.0, 0.5
    if name.endswith("token_embedding.weight"):
        return 0.0, 1.0
    if name.endswith("positional_embedding"):
        return 0.0, 0.3
    if name.endswith("class_embedding"):
        return 0.0, 1.0
    if len(shape) == 1:
        return (1.0, 0.02) if name.endswith("weight") else (0.0, 0.02)
    if name.endswith(("transformer.conv1.weight", "text_guidance_projection.0.weight")):
        return 0.0, 1.0
    if name.endswith("head.weight"):
        return 0.0, 0.25
    if name.endswith(("q_proj_weight", "k_proj_weight")):
        return 0.0, 1.5 / math.sqrt(shape[1])
    if name.endswith(("visual.proj", "text_projection", "upsample1.weight", "upsample2.weight", ".up.weight")):
        return 0.0, 1.0 / math.sqrt(shape[0])
    return 0.0, 1.0 / math.sqrt(int(np.prod(shape[1:])))


def value(name: str, shape: Sequence[int]) -> NDArray[np.float32] | None:
    """The values of an entry; None for one that is left as built."""
    rule = scale(name, tuple(shape))
    if rule is None:
        return None
    offset, factor = rule
    rng = np.random.default_rng(zlib.crc32(name.encode("utf-8")))
    values = rng.standard_normal(tuple(shape), dtype=np.float32)
    values *= np.float32(factor)
    if offset:
        values += np.float32(offset)
    return values


def _box3(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """A 3x3 mean over the first two axes, edges repeated."""
    for axis in (0, 1):
        padded = np.concatenate([a.take([0], axis), a, a.take([-1], axis)], axis)
        n = a.shape[axis]
        parts = [padded.take(range(start, start + n), axis) for start in range(3)]
        a = (parts[0] + parts[1] + parts[2]) / 3.0
    return a


def image(seed: int, h: int, w: int, blocks: int = 16) -> NDArray[np.uint8]:
    """An RGB image (h, w, 3): blocks of random colours and a quarter of noise, twice through a 3x3 mean.

    Blocks are drawn before the noise.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (-(-h // blocks), -(-w // blocks), 3)).astype(np.float64)
    fine = rng.integers(0, 256, (h, w, 3)).astype(np.float64)
    a = 0.75 * coarse.repeat(blocks, 0).repeat(blocks, 1)[:h, :w] + 0.25 * fine
    return np.clip(np.floor(_box3(_box3(a)) + 0.5), 0, 255).astype(np.uint8)


def label(seed: int, h: int, w: int, num_classes: int, blocks: int = 24, p_ignore: float = 0.15) -> NDArray[Any]:
    """A label map (h, w), int64: one class a block, a share ``p_ignore`` of the blocks ignored (255)."""
    rng = np.random.default_rng(seed)
    grid = (-(-h // blocks), -(-w // blocks))
    classes = rng.integers(0, num_classes, grid)
    classes = np.where(rng.random(grid) < p_ignore, 255, classes)
    return classes.repeat(blocks, 0).repeat(blocks, 1)[:h, :w].astype(np.int64)
