"""Options of CAT-Seg; the defaults are the published ones (official configuration, see specs/catseg.md)."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class CatSegOptions:
    """Sizes and choices of CAT-Seg (Cho et al., CVPR 2024; "Sec." is that paper's, "code" the released one).

    Widths that belong to the CLIP tower are taken from the tower.
    """

    templates: tuple[str, ...] = ("A photo of a {} in the scene",)
    """Prompts; each becomes a channel of the cost volume (code: one prompt, ``imagenet_select_clip`` shortened)."""
    guide_blocks: tuple[int, ...] | None = None
    """Blocks of the image tower that guide the decoder; None: one third and two thirds of the way, which is 3, 7 for
    ViT-B/16 and 7, 15 for ViT-L/14 as released."""
    hidden: int = 128
    """Channels of the cost embedding and the aggregator (Sec. 4, Implementation details: d_F = 128)."""
    layers: int = 2
    """Pairs of spatial and class aggregation (Sec. 4: N_B = 2)."""
    heads: int = 4
    """Attention heads in both aggregations (code)."""
    mlp_ratio: float = 4.0
    """Hidden over outer width of the MLPs in both aggregations (code)."""
    window: int = 12
    """Side of the Swin windows in places of the 24x24 map (code: feature resolution 24, window 12)."""
    pooling: tuple[int, int] = (2, 2)
    """Average pooling before class aggregation while training; (1, 1) at test (code: POOLING_SIZES)."""
    pad_len: int = 256
    """Class slots of class aggregation; more classes than this are pruned per image (code: PAD_LEN)."""
    cost_kernel: int = 7
    """Kernel of the convolution that embeds the cost map (code)."""
    appearance_guidance: int = 128
    """Channels of the projected appearance guidance (code: APPEARANCE_GUIDANCE_PROJ_DIM)."""
    text_guidance: int = 128
    """Channels of the projected text guidance (code: TEXT_GUIDANCE_PROJ_DIM)."""
    decoder_dims: tuple[int, ...] = (64, 32)
    """Output channels of the upsampling stages (code: DECODER_DIMS)."""
    decoder_guidance: tuple[int, ...] = (256, 128)
    """Channels of the upsampled CLIP guidance, one a stage (code: DECODER_GUIDANCE_DIMS)."""
    decoder_guidance_proj: tuple[int, ...] = (32, 16)
    """Channels of the projected decoder guidance (code: DECODER_GUIDANCE_PROJ_DIMS)."""
    clip_trains: Literal["qv", "nothing"] = "qv"
    """Which CLIP weights train: query and value projections of both towers (Sec. 3.4) or none."""
    clip_lr_factor: float = 0.01
    """Learning rate of CLIP weights over that of new modules (code: CLIP_MULTIPLIER)."""
    ignore_in_loss: Literal["zero_target", "excluded"] = "zero_target"
    """Pixels without a label: all-zero targets (code, a quirk) or left out of the mean."""
