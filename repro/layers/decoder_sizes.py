"""What sizes the upsampling decoder takes (:mod:`repro.layers.decoder`), without torch: for options of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

CHANNELS_PER_GROUP = 16


class DecoderOptions(Protocol):
    """The options of a method that say how large its decoder is."""

    @property
    def guide_blocks(self) -> Sequence[int] | None: ...
    @property
    def decoder_dims(self) -> Sequence[int]: ...
    @property
    def decoder_guidance(self) -> Sequence[int]: ...
    @property
    def decoder_guidance_proj(self) -> Sequence[int]: ...


def decoder_checks(options: DecoderOptions, width: int) -> dict[str, tuple[bool, str]]:
    """Return checks for :func:`repro.methods.options.check_options`; ``width``: channels of the first stage's input."""
    stages = {len(options.decoder_dims), len(options.decoder_guidance), len(options.decoder_guidance_proj)}
    stages |= {len(options.guide_blocks)} if options.guide_blocks is not None else set()
    widths = (width, *options.decoder_dims)[:-1]
    whole = all(dim % groups(dim) == 0 for dim in options.decoder_dims)
    one = "one entry per stage, as decoder_guidance, its _proj and guide_blocks"
    return {
        "decoder_dims": (
            len(stages) == 1 and whole,
            one if whole else f"whole groups of {CHANNELS_PER_GROUP} channels",
        ),
        "decoder_guidance_proj": (
            all(g < w for g, w in zip(options.decoder_guidance_proj, widths, strict=False)),
            f"less than the channels that enter each stage, {widths}",
        ),
    }


def groups(channels: int) -> int:
    """Return the number of groups that a GroupNorm of the decoder has."""
    return max(1, channels // CHANNELS_PER_GROUP)
