"""Builds SynSeg, with CLIPSeg's decoder weights where the options name a file of them."""

from __future__ import annotations

from pathlib import Path

from baselines.synseg.clipseg import load_decoder
from baselines.synseg.model import SynSeg
from baselines.synseg.options import SynSegOptions
from repro.clip.tower import ClipTower
from repro.clip.weights import load_state
from repro.errors import WeightsError
from repro.hashing import file_digest


def build(clip: ClipTower, options: SynSegOptions) -> SynSeg:
    """Build the method around ``clip``; WeightsError for an absent, another or an unfitting file of decoder weights."""
    method = SynSeg(clip, options)
    if options.decoder_weights:
        path = Path(options.decoder_weights).expanduser()
        if not path.is_file():
            raise WeightsError(
                f"no decoder weights at {path}",
                expected="a file of CLIPSeg's weights",
                mend='correct decoder_weights of synseg, or leave it "" to start at random',
            )
        digest = file_digest(path)
        if not digest.startswith(options.decoder_sha256):
            raise WeightsError(
                f"{path} is not the file the options name",
                expected=f"SHA-256 {options.decoder_sha256}",
                found=digest,
                mend="set decoder_sha256 to the digest of the file you mean",
            )
        load_decoder(method.decoder, load_state(path), str(path))
    return method
