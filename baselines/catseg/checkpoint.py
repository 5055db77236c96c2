"""Names of the official CAT-Seg checkpoints and ours, exact both ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from baselines.catseg.options import CatSegOptions
from repro.checkpoints.official import OfficialVariant, Shape
from repro.clip.spec import TowerSpec
from repro.layers.window_attention import shift_mask

_HEAD = "sem_seg_head.predictor."
_LAYER = _HEAD + r"transformer.layers.\1."

# (ours, official) in both directions; a group is the number of a layer, block or stage.
_RULES: tuple[tuple[str, str], ...] = (
    (r"clip.model.(.+)", _HEAD + r"clip_model.\1"),
    (r"aggregator.layers.(\d).swin.block_(\d).attn.([qkv]).(\w+)", _LAYER + r"swin_block.block_\2.attn.\3.\4"),
    (r"aggregator.layers.(\d).swin.block_(\d).proj.(\w+)", _LAYER + r"swin_block.block_\2.attn.proj.\3"),
    (r"aggregator.layers.(\d).swin.(.+)", _LAYER + r"swin_block.\2"),
    (r"aggregator.layers.(\d).classes.attention.mlp.fc1.(\w+)", _LAYER + r"attention.MLP.0.\2"),
    (r"aggregator.layers.(\d).classes.attention.mlp.fc2.(\w+)", _LAYER + r"attention.MLP.2.\2"),
    (r"aggregator.layers.(\d).classes.attention.(.+)", _LAYER + r"attention.\2"),
    (r"aggregator.embedding.conv.(\w+)", _HEAD + r"transformer.conv1.\1"),
    (r"aggregator.appearance.(\w+)", _HEAD + r"transformer.guidance_projection.0.\1"),
    (r"aggregator.text.(\w+)", _HEAD + r"transformer.text_guidance_projection.0.\1"),
    (r"aggregator.decoder_guidance.(\d).(\w+)", _HEAD + r"transformer.decoder_guidance_projection.\1.0.\2"),
    (r"aggregator.decoder.head.(\w+)", _HEAD + r"transformer.head.\1"),
)
_STAGE_PARTS = {
    "conv1": "conv.double_conv.0",
    "norm1": "conv.double_conv.1",
    "conv2": "conv.double_conv.3",
    "norm2": "conv.double_conv.4",
    "up": "up",
}
_MASK = _HEAD + "transformer.layers.{layer}.swin_block.block_2.attn_mask"


def official_name(name: str) -> str:
    """Return the official checkpoint's name of the entry ``name`` of our state dict; KeyError for an unknown one."""
    if match := re.fullmatch(r"aggregator\.decoder\.stages\.(\d)\.(\w+)\.(\w+)", name):
        stage, part, leaf = match.groups()
        return f"{_HEAD}transformer.decoder{int(stage) + 1}.{_STAGE_PARTS[part]}.{leaf}"
    if match := re.fullmatch(r"upsample\.(\d)\.(\w+)", name):
        return f"upsample{int(match[1]) + 1}.{match[2]}"
    for ours, official in _RULES:
        if match := re.fullmatch(ours.replace(".", r"\.").replace(r"(\.+)", "(.+)"), name):
            return match.expand(official)
    raise KeyError(name)


def official_masks(options: CatSegOptions, grid: int) -> dict[str, Tensor]:
    """Return the attention masks the official modules store: shifted windows on a map of ``grid`` x ``grid`` places."""
    window = min(options.window, grid)
    if window == grid:
        return {}
    mask = shift_mask(grid, window, window // 2)
    return {_MASK.format(layer=number): mask for number in range(options.layers)}


class CatSegOfficial:
    """The released CAT-Seg (CVPR 2024 code) as :class:`repro.checkpoints.official.OfficialFormat`."""

    title = "CAT-Seg (detectron2)"
    page = "github.com/cvlab-kaist/CAT-Seg (weights: huggingface.co/spaces/hamacojr/CAT-Seg-weights)"
    variants: Mapping[str, OfficialVariant] = {
        "catseg-vitb": OfficialVariant(
            "CAT-Seg (B), CLIP ViT-B/16",
            TowerSpec(model="ViT-B-16-quickgelu", weights=None, resolution=384, dense_residual="cls"),
        ),
        "catseg-vitl": OfficialVariant(
            "CAT-Seg (L), CLIP ViT-L/14@336",
            TowerSpec(model="ViT-L-14-336-quickgelu", weights=None, resolution=336, dense_residual="cls"),
        ),
    }

    def guess(self, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
        """Return the variant of the image tower's width; both where that entry is missing."""
        if not any(name.startswith(_HEAD) for name in shapes):
            return ()
        width = (shapes.get(f"{_HEAD}clip_model.visual.class_embedding") or (0,))[0]
        return {768: ("catseg-vitb",), 1024: ("catseg-vitl",)}.get(width, tuple(self.variants))

    def official_name(self, name: str) -> str:
        """Apply :func:`official_name`."""
        return official_name(name)

    def buffers(self, options: Any, grid: int) -> dict[str, Tensor]:
        """Apply :func:`official_masks`."""
        return official_masks(options, grid)

    def ignored(self, name: str) -> bool:
        """Tell whether ``name`` is a pixel mean or deviation, which detectron2 keeps beside some models."""
        return re.fullmatch(r"(clip_)?pixel_(mean|std)", name) is not None

    def hint(self, shapes: Mapping[str, Shape]) -> str | None:
        """Say that the first release had a second image encoder and other modules, so that its files do not fit."""
        if any(name.startswith("backbone.") for name in shapes):
            return (
                "entries below backbone. belong to the first release (2023: ResNet-101 or Swin), which is not supported"
            )
        return None


OFFICIAL = CatSegOfficial()
