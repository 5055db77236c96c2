"""CLIPSeg's decoder weights under our names: from its authors' files and from those of the transformers library."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from baselines.synseg.decoder import ActivationDecoder
from repro.errors import WeightsError

_LAYER_PARTS = {
    "self_attn.in_proj_": "qkv.",
    "self_attn.out_proj.": "proj.",
    "linear1.": "mlp.fc1.",
    "linear2.": "mlp.fc2.",
    "mlp.fc1.": "mlp.fc1.",
    "mlp.fc2.": "mlp.fc2.",
    "norm1.": "norm1.",
    "norm2.": "norm2.",
    "layer_norm1.": "norm1.",
    "layer_norm2.": "norm2.",
}
_STEMS = {"trans_conv.": "head.", "transposed_convolution.": "head.", "reduces.": "reduces."}


def decoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries of ``state`` that belong to CLIPSeg's decoder, under the names of :class:`ActivationDecoder`.

    FiLM is left out: SynSeg's is an MLP and reads normalised text features, CLIPSeg's is linear and does not.
    """
    found: dict[str, Tensor] = {}
    joint: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        name = name.removeprefix("decoder.")
        if match := re.fullmatch(r"(?:blocks|layers)\.(\d+)\.(.+)", name):
            layer, rest = match.groups()
            if split := re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", rest):
                joint.setdefault(f"layers.{layer}.qkv.{split[2]}", {})[split[1]] = tensor
                continue
            for theirs, ours in _LAYER_PARTS.items():
                if rest.startswith(theirs):
                    found[f"layers.{layer}.{ours}{rest.removeprefix(theirs)}"] = tensor
        else:
            for theirs, ours in _STEMS.items():
                if name.startswith(theirs):
                    found[ours + name.removeprefix(theirs)] = tensor
    for name, parts in joint.items():
        if parts.keys() == {"q", "k", "v"}:
            found[name] = torch.cat([parts[p] for p in "qkv"])
    return found


def load_decoder(decoder: ActivationDecoder, state: Mapping[str, Tensor], source: str) -> None:
    """Fill ``decoder`` with CLIPSeg's weights in ``state``, read from ``source``.

    Raises WeightsError, with the decoder unchanged, where a tensor is absent, unknown or of another shape.
    """
    found, own = decoder_state(state), decoder.state_dict()
    faults = sorted(own.keys() ^ found.keys())
    faults += [n for n in own.keys() & found.keys() if own[n].shape != found[n].shape]
    if faults:
        raise WeightsError(
            f"{source} does not fit the decoder of synseg",
            expected=f"CLIPSeg's weights for {len(decoder.layers)} blocks of the same widths (rd64 for ViT-B/16)",
            found=f"{len(faults)} tensors absent, unknown or of another shape ({faults[0]}, ...)",
            mend="name CLIPSeg's rd64-uni weights, or set width, mlp_width and blocks to those of the file",
        )
    decoder.load_state_dict(found)
