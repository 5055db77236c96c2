"""Names of CLIP checkpoints: OpenAI's and open_clip's own, EVA-CLIP's (CLIPSelf, DenseVLM), open_clip's timm towers.

Every variant is an open_clip model; what a complete file holds is read off that model built without memory.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from repro.checkpoints.formats import Format, Layout
from repro.checkpoints.official import Shape
from repro.checkpoints.reading import ForeignFile
from repro.clip.weights.eva_names import to_eva
from repro.runtime import import_torchvision

_TEXT = ("text_projection", "positional_embedding", "token_embedding.", "transformer.", "ln_final.")
# Scalars of OpenAI's archives, and tables that the modules compute.
_IGNORED = re.compile(
    r"input_resolution|context_length|vocab_size|(.*\.)?(attn_mask|position_ids|rope\.freqs_(cos|sin))"
)


@dataclasses.dataclass(frozen=True)
class ClipFormat(Format):
    """One family of spellings.

    ``typical`` is its most usual model, ``signature`` an entry that every file of it has and no other's; ``accepts``
    says which open_clip configurations belong to it; ``rename`` turns open_clip's names into the file's.
    """

    id: str
    title: str
    page: str
    typical: str
    signature: str
    accepts: Callable[[str, dict[str, Any]], bool]
    rename: Callable[[Mapping[str, str]], dict[str, str]] = dict

    def variants(self) -> tuple[str, ...]:
        known = (name for name, config in _configs().items() if self.accepts(name, config))
        return tuple(sorted(known, key=lambda name: name != self.typical))

    def guess(self, file: ForeignFile) -> tuple[str, ...]:
        shapes = file.shapes
        if not any(re.fullmatch(self.signature, name) for name in shapes):
            return ()
        found = _sizes_of_file(shapes)
        scores = {}
        for name in self.variants():
            known = _sizes_of_config(_configs()[name])
            common = found.keys() & known.keys()
            scores[name] = sum(1 if found[k] == known[k] else -1 for k in common)
        best = tuple(n for n, s in scores.items() if s == max(scores.values()))
        if file.from_torchscript or "context_length" in shapes:  # only OpenAI publishes these, with QuickGELU
            best = tuple(n for n in best if n.endswith("-quickgelu")) or best
        return best

    def layout(self, variant: str, shapes: Mapping[str, Shape]) -> Layout:
        ours = model_shapes(variant)
        names = self.rename({name: name for name in ours})
        # The text tower is at the top level or below `text.`, whatever the model at hand does with it.
        below = "text.token_embedding.weight" in shapes
        if (below or "token_embedding.weight" in shapes) and below != ("text.token_embedding.weight" in ours):
            names = {_move_text(theirs, below): name for theirs, name in names.items()}
        return Layout(names, {theirs: ours[name] for theirs, name in names.items()})

    def describe(self, variant: str) -> dict[str, Any]:
        return {"title": f"{self.title}, {variant}", "model": variant}

    def ignored(self, name: str) -> bool:
        return _IGNORED.fullmatch(name) is not None


def model_config(name: str) -> dict[str, Any]:
    """Return open_clip's configuration of ``name``, one of the variants."""
    return dict(_configs()[name])


@functools.cache
def model_shapes(name: str) -> dict[str, Shape]:
    """Return entries of the open_clip model ``name`` and their shapes."""
    import_torchvision()
    import torch
    from open_clip.model import CLIP, CustomTextCLIP

    config = model_config(name)
    custom = config.pop("custom_text", False)
    with torch.device("meta"):
        model = (CustomTextCLIP if custom else CLIP)(**config)
    return {n: tuple(t.shape) for n, t in model.state_dict().items()}


def clip_formats() -> tuple[ClipFormat, ...]:
    """Return all spellings of CLIP files that are known."""
    plain = r"(visual\.conv1\.weight|visual\.transformer\.resblocks\.0\.ln_1\.weight)"
    return (
        ClipFormat(
            "clip",
            "CLIP (OpenAI, open_clip)",
            "github.com/openai/CLIP, github.com/mlfoundations/open_clip",
            "ViT-B-16",
            plain,
            _is_plain,
        ),
        ClipFormat(
            "eva-clip",
            "EVA-CLIP (also CLIPSelf, DenseVLM)",
            "github.com/baaivision/EVA, github.com/wusize/CLIPSelf, github.com/HVision-NKU/DenseVLM",
            "EVA02-B-16",
            r"visual\.(blocks\.\d+\.norm1\.weight|patch_embed\.proj\.weight)",
            lambda name, config: name.startswith("EVA") and "timm_model_name" in config["vision_cfg"],
            to_eva,
        ),
        ClipFormat(
            "open_clip",
            "open_clip with a timm image tower (EVA, ConvNeXt)",
            "github.com/mlfoundations/open_clip",
            "convnext_base_w",
            r"visual\.trunk\..+",
            lambda name, config: name.startswith(("EVA", "convnext")) and "timm_model_name" in config["vision_cfg"],
        ),
    )


@functools.cache
def _configs() -> dict[str, dict[str, Any]]:
    import_torchvision()
    import open_clip

    return {name: open_clip.get_model_config(name) for name in open_clip.list_models()}


def _is_plain(_name: str, config: dict[str, Any]) -> bool:
    vision, text = config["vision_cfg"], config["text_cfg"]
    special = ("custom_text", "multimodal_cfg", "init_logit_bias")
    return (
        not any(config.get(k) for k in special)
        and "timm_model_name" not in vision
        and "hf_model_name" not in text
        and not vision.get("attentional_pool")
    )


def _move_text(name: str, below: bool) -> str:
    if below:
        return f"text.{name}" if name.startswith(_TEXT) else name
    return name.removeprefix("text.")


def _sizes_of_file(shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Return the sizes that tell models apart, as far as the file has the entries they are read off."""
    plain = {n.removeprefix("text."): s for n, s in shapes.items()}
    sizes: dict[str, int] = {}
    if len(projection := plain.get("text_projection", ())) == 2:
        sizes["text_width"], sizes["embed_dim"] = projection
    if len(tokens := plain.get("token_embedding.weight", ())) == 2:
        sizes["vocabulary"] = tokens[0]
    if len(position := plain.get("positional_embedding", ())) == 2:
        sizes["context"] = position[0]
    if layers := _count(plain, r"transformer\.resblocks\.(\d+)\..+"):
        sizes["text_layers"] = layers
    if len(patch := plain.get("visual.conv1.weight", ())) == 4:
        sizes["width"], sizes["patch"] = patch[0], patch[-1]
    if layers := _count(plain, r"visual\.transformer\.resblocks\.(\d+)\..+"):
        sizes["layers"] = layers
    if len(places := plain.get("visual.positional_embedding", ())) == 2:
        sizes["grid"] = round((places[0] - 1) ** 0.5)
    return sizes


def _sizes_of_config(config: dict[str, Any]) -> dict[str, int]:
    vision, text = config["vision_cfg"], config["text_cfg"]
    sizes = {"embed_dim": config["embed_dim"], "text_width": text.get("width", 512)}
    sizes |= {"vocabulary": text.get("vocab_size", 49408), "context": text.get("context_length", 77)}
    sizes["text_layers"] = text.get("layers", 12)
    if "timm_model_name" in vision:
        return sizes
    if isinstance(vision["layers"], (list, tuple)):  # a ResNet: its stem has half the width and 3x3 kernels
        return {**sizes, "width": vision["width"] // 2, "patch": 3}
    size = {k: vision[k] for k in ("width", "layers")}
    return {**sizes, **size, "patch": vision["patch_size"], "grid": vision["image_size"] // vision["patch_size"]}


def _count(shapes: Mapping[str, Shape], pattern: str) -> int:
    return 1 + max((int(m[1]) for n in shapes if (m := re.fullmatch(pattern, n))), default=-1)
