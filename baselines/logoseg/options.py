"""Options of LoGoSeg; the defaults are the paper's, or, where it is silent, those of docs/reconstruction.md."""

from __future__ import annotations

import dataclasses
from typing import Literal

from repro.layers.decoder_sizes import decoder_checks
from repro.methods.options import check_options
from repro.values import Blocks, Count, Counts, Number, Positive, Weight


@dataclasses.dataclass(frozen=True)
class LoGoSegOptions:
    """Sizes and choices of LoGoSeg (Chen et al., AAAI 2026; "silent" where that paper gives no value).

    Widths that belong to the CLIP tower are taken from the tower. Raises UsageError for values that make no model.
    """

    templates: tuple[str, ...] = ("A photo of a {} in the scene",)
    """Prompts of a class (Implementation details)."""
    text_scale: Literal["sqrt", "unit"] = "sqrt"
    """Length of the text features that linear maps read (silent): the root of their width, so that components are of
    order one, or 1, at which the classes' queries hardly differ at the start."""
    query_text: Literal["pooled", "weighted"] = "pooled"
    """What queries, keys and values are made of: the pooled text embeddings, as the text says, or the centres of Eq. 2,
    which vanish or turn around where the prior does."""
    cosine: bool = True
    """Whether the correlation tensor (B x C x T x H x W, the notation of CAT-Seg's cost volume) also carries the cosine
    of each place and class, embedded as there (silent)."""
    cosine_kernel: Count = 7
    """Kernel of the convolution that embeds it (CAT-Seg's)."""
    prior: float | Literal["learnable"] = 1.0
    """lambda of the object prior (Table 4): 0 turns it off (Table 2, OP), ``learnable`` trains it from 1 ("Adapt.")."""
    negative_prior: Literal["printed", "zero"] = "printed"
    """A negative weight of a class turns its text centre and so Eq. 3 around, as printed, or counts as zero."""
    prior_in_similarity: bool = False
    """Multiply Eq. 3 by the prior: as printed, a positive scale of the text centre leaves a cosine as it is."""
    regional_alignment: bool = True
    """Regional alignment (Table 2, RA); without it the guidance is the projected dense feature of each place."""
    regions: Count = 6
    """r: the map is cut into r x r regions (Table 4)."""
    tau: Positive | None = None
    """Factor on the cosines in the softmax over regions, Eq. 4 (silent); None: the tower's own logit scale."""
    beta: Weight | None = None
    """Factor on the cosines in the softmax over classes, Eq. 7 (silent); None: the tower's own logit scale."""
    hidden: Count = 128
    """D, the width of guidance, fused map and queries."""
    depth: Number = 2
    """Blocks of contextual cross-modal fusion (Table 3); 0 leaves the fusion out (Table 2, CCF)."""
    directional_attention: bool = True
    """Attention within rows and columns, Eq. 8 (Table 3, DA); without it X_local is its input."""
    global_context: bool = True
    """The SS2D branch of Eq. 9 (Table 3, GC)."""
    heads: Count = 4
    """Attention heads, directional and linear (silent)."""
    mlp_ratio: Positive = 4.0
    """Hidden over outer width of the queries' MLP (silent)."""
    adapter_ratio: Positive = 2.0
    """Hidden over outer width of the channel adapter (silent)."""
    correlation: Count = 128
    """C_q, channels of the correlation tensor (silent): each is an inner product of D / C_q channels."""
    middle_block: int | None = None
    """Block of the image tower that gives F_mid; None: the last of the tower's first half."""
    guide_blocks: Blocks | None = None
    """Blocks whose outputs S_i guide the decoder, Eq. 11; None: one third and two thirds of the way."""
    decoder_dims: Counts = (64, 32)
    """Output channels of the decoder stages (silent; CAT-Seg's)."""
    decoder_guidance: Counts = (256, 128)
    """Channels of the upsampled CLIP features, one per stage (silent; CAT-Seg's)."""
    decoder_guidance_proj: Counts = (32, 16)
    """Channels of the projected decoder guidance S_i (silent; CAT-Seg's)."""
    clip_trains: Literal["image", "qv", "nothing"] = "image"
    """What trains of CLIP: the image tower, as printed, its query and value weights, or nothing; text never does."""
    clip_lr_factor: Weight = 0.01
    """Learning rate of the image tower over that of new modules (Implementation details)."""

    def __post_init__(self) -> None:
        checks = {
            "hidden": (self.hidden % 2 == self.hidden % self.heads == 0, f"even, a multiple of {self.heads} heads"),
            "correlation": (self.hidden % self.correlation == 0, f"a divisor of hidden = {self.hidden}"),
            **decoder_checks(self, self.correlation),
        }
        check_options("logoseg", self, checks)
