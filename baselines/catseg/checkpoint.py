"""Names of the official CAT-Seg checkpoints and ours, exact both ways."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from baselines.catseg.model import CatSeg
from repro.errors import WeightsError

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
    """The name the official checkpoint has for the entry ``name`` of our state dict; KeyError for an unknown one."""
    if match := re.fullmatch(r"aggregator\.decoder\.stages\.(\d)\.(\w+)\.(\w+)", name):
        stage, part, leaf = match.groups()
        return f"{_HEAD}transformer.decoder{int(stage) + 1}.{_STAGE_PARTS[part]}.{leaf}"
    if match := re.fullmatch(r"upsample\.(\d)\.(\w+)", name):
        return f"upsample{int(match[1]) + 1}.{match[2]}"
    for ours, official in _RULES:
        if match := re.fullmatch(ours.replace(".", r"\.").replace(r"(\.+)", "(.+)"), name):
            return match.expand(official)
    raise KeyError(name)


def to_official(method: CatSeg) -> dict[str, Tensor]:
    """The method's weights under official names, with the buffers the official modules store."""
    state = {official_name(name): tensor for name, tensor in method.state_dict().items()}
    for number, layer in enumerate(method.aggregator.layers):
        mask = layer.swin.block_2.mask  # type: ignore[union-attr]
        if isinstance(mask, Tensor):
            state[_MASK.format(layer=number)] = mask
    return state


def from_official(method: CatSeg, state: Mapping[str, Tensor]) -> None:
    """Load official weights into ``method``, in place.

    Raises WeightsError naming the first entry that is absent, unknown or of another shape (another CLIP model, other
    sizes).
    """
    own = method.state_dict()
    names = {official_name(name): name for name in own}
    extra = [n for n in state if n not in names and not n.endswith("attn_mask")]
    absent = [n for n in names if n not in state]
    shapes = [n for n in names if n in state and state[n].shape != own[names[n]].shape]
    for kind, found in (("lacks", absent), ("has the unknown entry", extra), ("has another shape for", shapes)):
        if found:
            raise WeightsError(
                f"the checkpoint {kind} {found[0]}" + (f" and {len(found) - 1} more" if len(found) > 1 else ""),
                expected="a CAT-Seg checkpoint for the same CLIP model and sizes",
                mend="choose the tower the checkpoint was trained with (ViT-B/16 or ViT-L/14@336)",
            )
    method.load_state_dict({ours: state[official] for official, ours in names.items()})
