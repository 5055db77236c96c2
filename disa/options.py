"""Options of DiSa; the defaults are the paper's (arXiv:2601.20064) as docs/reconstruction.md reads it."""

from __future__ import annotations

import dataclasses
from typing import Literal

from repro.errors import UsageError
from repro.layers.decoder_sizes import decoder_checks
from repro.methods.options import LossWeight, check_options
from repro.values import Blocks, Count, Counts, Number, Positive, Share, Weight

SaliencySource = Literal["gradcam", "attention", "correlation", "random", "none"]
Split = Literal["sdm", "none", "token_level", "class_level"]
KPolicy = Literal["fixed", "ratio", "adaptive"]
Merge = Literal["mask", "sum", "concat", "learned"]
SaliencyTarget = Literal["margin", "score", "loss"]
Selection = Literal["hard", "straight_through", "soft"]
ClipFinetune = Literal["qk", "qv", "attention", "none", "full"]

PAPER_TOKENS = 24 * 24
"""Places of the map the paper's k is a number of (Sec. 4.2)."""


@dataclasses.dataclass(frozen=True)
class DisaOptions:
    """Sizes and choices of DiSa ("Sec.", "Eq." and "Table" are the paper's).

    Widths that belong to the CLIP tower are taken from the tower. Raises UsageError for an unknown choice.
    """

    template: str = "A photo of a {}"
    """The prompt (Appendix B); CAT-Seg's is "A photo of a {} in the scene"."""

    split: Split = "sdm"
    """Who divides the tokens: the saliency of each class (``sdm``), nobody (Table 3, I), a class-agnostic soft map
    (``token_level``, II), a taxonomy of things and stuff (``class_level``, III)."""
    saliency: SaliencySource = "gradcam"
    """What ranks the tokens of a class: gradient-weighted attention (Eq. 2), attention alone, CLIP's cosine, a fixed
    draw for each class name; ``none`` is ``split="none"``."""
    saliency_target: SaliencyTarget = "margin"
    """What is differentiated ("the regressed matching score", Sec. 3.3): the matched logit minus the other, which is
    all that the cross-entropy of Eq. 1 trains; the matched logit alone (``score``); L_itm as Eq. 2 is printed."""
    saliency_layer: int | Literal["mean"] = "mean"
    """Cross-attention layer whose attention is weighted (counted from the end where negative), or the mean over all.
    The paper does not say which; only of the mean is it certain on all sets that the gradient adds to the attention."""
    text_scale: Literal["sqrt", "unit"] = "sqrt"
    """Length of the text tokens that enter the cross-attention: the root of their width, the scale of a residual stream
    behind whose norms the branches are of order one, or 1, at which all classes' queries become the same vector."""
    selection: Selection = "hard"
    """How segmentation reaches the saliency (Sec. 3.3, "continuously optimized"): not at all, through the gates of the
    branches with the selection taken as the saliency itself backwards (``straight_through``), or by a soft division of
    the tokens, training and inference (``soft``). The last two let gradients into A, not into its weights."""
    k: Number = 96
    """Foreground tokens of a class (Sec. 4.2, Table 4: 16, 48, 96)."""
    k_policy: KPolicy = "fixed"
    """``fixed``: k tokens of any map; ``ratio``: the share of tokens that k is of 24x24; ``adaptive``: tokens in
    falling order until they hold ``saliency_mass`` of the class's saliency."""
    saliency_mass: Share = 0.5
    """Share of the saliency that ``k_policy="adaptive"`` keeps (not in the paper)."""

    sdm_layers: Count = 3
    """Cross-attention layers (Appendix B)."""
    sdm_head_dim: Count = 64
    """Channels of a head; CLIP's own."""
    sdm_mlp_ratio: Positive = 4.0
    """Hidden over outer width of their feed-forward networks."""
    itm_weight: LossWeight = 0.1
    """Weight of the image-text matching loss (Eq. 1) beside the segmentation loss."""
    itm_labels: Literal["own", "shuffled"] = "own"
    """Labels of Eq. 1: of the image, or, as a control, of another image of the batch: what is left is not matching."""

    pixel: bool = True
    """HRM: two Swin blocks over the tokens of the branch (Sec. 3.4; Table 3, V)."""
    category: bool = True
    """HRM: a prototype of each class (Table 3, VI)."""
    semantic: bool = True
    """HRM: a prototype over all classes (Table 3, VIII)."""
    share_branches: bool = False
    """One set of HRM weights for foreground and background (the paper: separate)."""

    aggregation: Merge = "mask"
    """How the branches are joined (Sec. 3.5: with the binary mask; Sec. 3.2: "weighted")."""
    aggregation_layers: Number = 2
    """Pairs of Swin blocks after joining; two fit the paper's Table 2."""

    seg_loss: Literal["ce", "bce"] = "ce"
    """Softmax cross-entropy (Sec. 4.2) or CAT-Seg's binary cross-entropy; inference follows."""
    aux: Literal["none", "mccl"] = "none"
    """An auxiliary loss that is not the paper's: SynSeg's MCCL of the predicted maps (repro.layers.mccl)."""
    aux_weight: Weight = 0.1
    """Its weight."""
    clip_finetune: ClipFinetune = "qk"
    """CLIP weights that train in both towers (Sec. 4.2: query and key projections)."""
    clip_lr_factor: Weight = 0.01
    """Learning rate of CLIP weights over that of new modules (Sec. 4.2: 2e-6 and 2e-4)."""

    guide_blocks: Blocks | None = None
    """Blocks of the image tower that guide the decoder; None: 3, 7 of 12 and 7, 15 of 24, as CAT-Seg's."""
    hidden: Count = 128
    """Channels D of the correlation."""
    heads: Count = 4
    """Attention heads of the Swin blocks."""
    mlp_ratio: Positive = 4.0
    """Hidden over outer width of their MLPs."""
    window: Count = 12
    """Side of their windows in places."""
    cost_kernel: Count = 7
    """Kernel of the convolution that embeds the correlation."""
    appearance_guidance: Count = 128
    """Channels of the appearance guidance of the Swin blocks."""
    decoder_dims: Counts = (64, 32)
    """Output channels of the upsampling stages."""
    decoder_guidance: Counts = (256, 128)
    """Channels of the upsampled CLIP guidance, one per stage."""
    decoder_guidance_proj: Counts = (32, 16)
    """Channels of the projected CLIP guidance, one per stage."""

    def __post_init__(self) -> None:
        layers = range(-self.sdm_layers, self.sdm_layers)
        known = self.saliency_layer == "mean" or self.saliency_layer in layers
        checks = {
            "saliency_layer": (known, f"mean or {layers.start} .. {layers.stop - 1}"),
            "template": ("{}" in self.template, "a text with {} where the class goes"),
            "hidden": (self.hidden % self.heads == 0, f"a multiple of {self.heads} heads"),
            "cost_kernel": (self.cost_kernel % 2 == 1, "an odd number"),
            **decoder_checks(self, self.hidden),
        }
        check_options("disa", self, checks)

    @property
    def splits(self) -> Split:
        """``split``, or ``none`` where there is no saliency to split by."""
        return "none" if self.split == "sdm" and self.saliency == "none" else self.split

    def tokens(self, places: int) -> int:
        """Return k of a map of ``places`` tokens; UsageError where a fixed k is more than there are."""
        if self.k_policy == "ratio":
            return min(places, round(self.k * places / PAPER_TOKENS))
        if self.k_policy == "fixed" and self.k > places:
            raise UsageError(
                "disa is asked to keep more tokens than its map has",
                expected=f"k of at most {places}",
                found=self.k,
                mend='set k, or k_policy="ratio" to keep the same share of any map, in the profile',
            )
        return self.k
