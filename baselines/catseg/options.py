"""Options of CAT-Seg; the defaults are the published ones (official configuration, see docs/specs/catseg.md)."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from annotated_types import MinLen

from repro.layers.decoder_sizes import decoder_checks
from repro.methods.options import check_options
from repro.values import Blocks, Count, Counts, Number, Positive, Weight


@dataclasses.dataclass(frozen=True)
class CatSegOptions:
    """Sizes and choices of CAT-Seg (Cho et al., CVPR 2024; "Sec." is that paper's, "code" the released one).

    Widths that belong to the CLIP tower are taken from the tower. Where the released code does something one would not
    expect, the default does the same and another value the expected thing; docs/reconstruction.md lists these. Raises
    UsageError for a value an option does not allow.
    """

    templates: Annotated[tuple[str, ...], MinLen(1)] = ("A photo of a {} in the scene",)
    """Prompts; each becomes a channel of the cost volume (code: PROMPT_ENSEMBLE_TYPE "single")."""
    synonyms: Literal["first", "mean"] = "first"
    """Of a class name that lists synonyms ("wall, fence") only the first is prompted (code), or all are averaged."""
    size_divisibility: Count = 32
    """Images are padded with the mean colour, right and below, to multiples of this, in pixels, before they are resized
    (code: SIZE_DIVISIBILITY); 1 pads nothing. Training crops and windows of 384 pixels are multiples already."""
    guide_blocks: Blocks | None = None
    """Blocks of the image tower that guide the decoder; None: one third and two thirds of the way, which is 3, 7 for
    ViT-B/16 and 7, 15 for ViT-L/14 as released."""
    hidden: Count = 128
    """Channels of the cost embedding and the aggregator (Sec. 4, Implementation details: d_F = 128)."""
    layers: Number = 2
    """Pairs of spatial and class aggregation (Sec. 4: N_B = 2)."""
    heads: Count = 4
    """Attention heads in both aggregations (code)."""
    mlp_ratio: Positive = 4.0
    """Hidden over outer width of the MLPs in both aggregations (code)."""
    window: Count = 12
    """Side of the Swin windows in places of the 24x24 map (code: feature resolution 24, window 12)."""
    pooling: tuple[Count, Count] = (2, 2)
    """Average pooling before class aggregation while training (code: POOLING_SIZES of the configurations)."""
    test_pooling: tuple[Count, Count] = (1, 1)
    """The same at test (code: POOLING_SIZES of eval.sh; evaluations during its training keep ``pooling``)."""
    pool_align_corners: bool = True
    """Bilinear way back from the pooled map with corner places on corner places (code); False keeps cells in place."""
    class_residual: Literal["double", "single"] = "double"
    """The pooled path, which holds its own residual, is added to the input (code), or only what it changed is."""
    pad_len: Number = 256
    """Class slots of class aggregation (code: pad_len); 0: neither padding nor pruning."""
    padding: Literal["attended", "masked"] = "attended"
    """Empty class slots take part in class attention (code), or classes attend to classes only."""
    pruning: Literal["per_view", "off"] = "per_view"
    """More classes than ``pad_len``: each image of a batch (a window at test) keeps its own (code), or all stay."""
    masked_attention: Literal["minus_100", "minus_inf"] = "minus_100"
    """Added to attention between places of a shifted window that are not neighbours (code: -100)."""
    cost_kernel: Count = 7
    """Kernel of the convolution that embeds the cost map (code)."""
    appearance_guidance: Count = 128
    """Channels of the projected appearance guidance (code: APPEARANCE_GUIDANCE_PROJ_DIM)."""
    text_guidance: Number = 128
    """Channels of the projected text guidance (code: TEXT_GUIDANCE_PROJ_DIM); 0: class aggregation is not told of the
    names, as DiSa's is not, a control."""
    decoder_dims: Counts = (64, 32)
    """Output channels of the upsampling stages (code: DECODER_DIMS)."""
    decoder_guidance: Counts = (256, 128)
    """Channels of the upsampled CLIP guidance, one per stage (code: DECODER_GUIDANCE_DIMS)."""
    decoder_guidance_proj: Counts = (32, 16)
    """Channels of the projected decoder guidance (code: DECODER_GUIDANCE_PROJ_DIMS)."""
    clip_trains: Literal["qv", "nothing"] = "qv"
    """Which CLIP weights train: query and value projections of both towers (Sec. 3.4) or none."""
    clip_lr_factor: Weight = 0.01
    """Learning rate of CLIP weights over that of new modules (code: CLIP_MULTIPLIER)."""
    ignore_in_loss: Literal["zero_target", "excluded"] = "zero_target"
    """Pixels without a label: all-zero targets (code, a quirk) or left out of the mean."""
    seg_loss: Literal["bce", "ce"] = "bce"
    """Binary cross-entropy of every class (code), or softmax cross-entropy over the classes of a step, labelled pixels
    only, and softmax at test too: DiSa's, as a control."""
    aux: Literal["none", "mccl"] = "none"
    """An auxiliary loss that is not CAT-Seg's: SynSeg's MCCL of the predicted maps (repro.layers.mccl)."""
    aux_weight: Weight = 0.1
    """Its weight."""

    def __post_init__(self) -> None:
        checks = {
            "templates": (all("{}" in text for text in self.templates), "texts with {} where the class goes"),
            "hidden": (self.hidden % self.heads == 0, f"a multiple of {self.heads} heads"),
            "cost_kernel": (self.cost_kernel % 2 == 1, "an odd number"),
            **decoder_checks(self, self.hidden),
        }
        check_options("catseg", self, checks)
