"""Options of SynSeg; the defaults are the paper's, or, where it is silent, those of docs/reconstruction.md."""

from __future__ import annotations

import dataclasses
from typing import Literal

from repro.methods.options import LossWeight, check_options
from repro.values import Between, Blocks, Count, Number, Positive, Weight


@dataclasses.dataclass(frozen=True)
class SynSegOptions:
    """Sizes and choices of SynSeg (arXiv:2508.06115; "silent" where that paper gives no value).

    Widths that belong to the CLIP tower are taken from the tower. Raises UsageError for values that make no model.
    """

    template: str = "A photo of a {} in the scene"
    """The prompt of a class: one template (silent which; CAT-Seg's)."""
    blocks: Blocks | None = None
    """Blocks of the image tower whose activations the decoder reads, from the first on; None: a quarter, a half and
    three quarters of the way, which is 3, 6, 9 for ViT-B/16 as in CLIPSeg."""
    width: Count = 64
    """Width of the decoder (as CLIPSeg's)."""
    heads: Count = 4
    """Attention heads of its transformer layers (as CLIPSeg's)."""
    mlp_width: Count = 2048
    """Hidden width of their MLPs (as CLIPSeg's)."""
    film_hidden: Count = 64
    """Hidden width of the MLP that gives FiLM's scale and shift (silent)."""
    normalise: bool = True
    """Bring CLIP's activations to a mean square of 1 before they are reduced (silent; CLIPSeg does not, and its weights
    need False). At CLIP's own scale the later stages drown what the first was told of the class."""
    features: Literal["clip", "decoder", "sum", "conditional"] = "clip"
    """V_c that FSS pools ("post-decoder features", fused with conditional ones): CLIP's dense features, in whose space
    the text lies; the decoder's last tokens through the projector; the sum of both, each of unit length; the
    conditional features before the decoder through the projector (version 0.1)."""
    absent_classes: Number = 8
    """Classes an image does not hold, drawn from those of the step, whose maps are trained to be empty; 0 decodes none.
    Not in the paper, whose maps are thresholded one by one: nothing else makes them comparable over a vocabulary."""
    absent_weight: Weight = 1.0
    """Weight of that loss, L_absent."""
    present_weight: Weight = 1.0
    """Weight of L_present: the map of a class the image holds is high somewhere. The losses of the paper hardly say so:
    they pool by a map's shape, not by its height."""
    background_threshold: Between | None = 0.5
    """Where a vocabulary has a background, a pixel whose best activation is below this is background (Sec. IV: stable
    from 0.1 to 0.6); None asks for the words that mean background, as for other methods."""
    align_weight: LossWeight = 1.0
    """lambda_1 of L_align; the printed values of the four are lost, these were chosen on held-out training scenes
    (docs/reconstruction.md). 0 leaves a loss out (Table III)."""
    cont_weight: LossWeight = 0.03
    """lambda_2 of L_cont."""
    back_weight: LossWeight = 0.03
    """lambda_3 of L_back."""
    sep_weight: LossWeight = 0.1
    """lambda_4 of L_sep."""
    similarity: Literal["mapped", "clipped"] = "mapped"
    """How cosines are bounded: mapped affinely (v3) or clipped (v2)."""
    eps: Positive = 0.005
    """Distance of a bounded similarity from 0 and 1 at least (v2, v3)."""
    contrast_above: float = 0.1
    """L_cont counts pairs of a larger cosine only."""
    decoder_weights: str = ""
    """A file of CLIPSeg's weights (rd64, ViT-B/16) from which the decoder starts, all but FiLM; "" starts at random."""
    decoder_sha256: str = ""
    """The first digits of that file's SHA-256: they make a run's address follow its content."""

    def __post_init__(self) -> None:
        digits = 8 <= len(self.decoder_sha256) <= 64 and not set(self.decoder_sha256) - set("0123456789abcdef")
        checks = {
            "template": ("{}" in self.template, "a text with {} where the class goes"),
            "width": (self.width % self.heads == 0, f"a multiple of {self.heads} heads"),
            "normalise": (not (self.normalise and self.decoder_weights), "False with decoder_weights, as CLIPSeg"),
            "decoder_sha256": (
                digits if self.decoder_weights else not self.decoder_sha256,
                "8 or more hex digits with decoder_weights (sha256sum FILE), none without",
            ),
        }
        check_options("synseg", self, checks)
