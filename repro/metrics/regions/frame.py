"""Images and masks in a square frame: the longer side resized to it, the rest zero at the right and bottom.

This is how CLIPSelf and DenseVLM show images in training and evaluation (docs/specs/densevlm.md, sections 2 and 6).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor


def framed_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return (height, width) after the longer side was brought to ``side``; at least one pixel each."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def frame_image(image: NDArray[np.uint8], side: int) -> Tensor:
    """Return an RGB image (H, W, 3) as uint8 (3, side, side): Pillow's bicubic resizing, black right and bottom.

    The padding is black before the image is normalised, so that it is not zero after it.
    """
    height, width = framed_size(image.shape[0], image.shape[1], side)
    resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    framed = torch.zeros(3, side, side, dtype=torch.uint8)
    framed[:, :height, :width] = torch.from_numpy(resized.copy()).permute(2, 0, 1)
    return framed


def frame_boxes(boxes: NDArray[np.float32], height: int, width: int, side: int) -> Tensor:
    """Return boxes (R, 4) in pixels of an image as fractions of the frame's sides, float32.

    Operations are in the order of the released code, which decides the last bit and RoIAlign's number of samples.
    """
    scale = side / max(height, width)
    return torch.from_numpy(np.asarray(boxes, np.float32) * np.float32(scale) / np.float32(side))


def frame_masks(masks: Tensor, side: int) -> Tensor:
    """Return binary masks (R, H, W) on a grid of ``side`` x ``side`` places, bool: bicubic, not antialiased, above 0.

    Without antialiasing as torchvision 0.15 resized tensors, which the published figures come from; with it masks
    would be larger. A small or thin mask may vanish.
    """
    height, width = framed_size(masks.shape[1], masks.shape[2], side)
    framed = masks.new_zeros((len(masks), side, side), dtype=torch.bool)
    if len(masks):
        resized = F.interpolate(masks[:, None].float(), (height, width), mode="bicubic", align_corners=False)
        framed[:, :height, :width] = resized[:, 0] > 0
    return framed
