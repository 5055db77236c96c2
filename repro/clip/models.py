"""Builds open_clip models from a tower's description and finds out which family of image encoder they have."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repro.clip.attention import split_attention_
from repro.clip.backbone import Backbone, unsupported
from repro.clip.convnext import convnext_backbone
from repro.clip.eva import eva_backbone, register_tiny
from repro.clip.names import BUILT_IN
from repro.clip.resnet import resnet_backbone
from repro.clip.spec import TowerSpec
from repro.clip.text import text_tower
from repro.clip.vit import vit_backbone
from repro.clip.weights import find_weights, load_state, model_folder, quick_gelu_error, read_config
from repro.clip.weights.eva_names import from_eva, has_eva_names
from repro.clip.weights.state_names import from_huggingface, has_huggingface_names
from repro.clip.weights.torchscript import is_torchscript
from repro.errors import WeightsError, unknown_name
from repro.runtime import import_torchvision


@dataclasses.dataclass(frozen=True)
class Description:
    """An open_clip model on paper: its ``config``, the ``folder`` it comes from, and how its images are normalised."""

    config: dict[str, Any]
    folder: Path | None
    mean: Sequence[float]
    std: Sequence[float]


def describe_model(spec: TowerSpec) -> Description:
    """Return what ``spec.model`` stands for; UsageError for an unknown model, WeightsError for a bad folder."""
    import_torchvision()
    import open_clip

    folder = model_folder(spec.model)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    if folder is not None:
        described = read_config(folder)
        config = dict(described["model_cfg"])
        preprocess = described.get("preprocess_cfg", {})
        mean, std = preprocess.get("mean", mean), preprocess.get("std", std)
    elif spec.model in BUILT_IN:
        config = dict(BUILT_IN[spec.model])
    else:
        config = open_clip.get_model_config(spec.model)
        if config is None:
            mend = 'python -c "import open_clip; print(open_clip.list_models())"'
            error = unknown_name("CLIP model", spec.model, open_clip.list_models(), mend=mend)
            error.expected = "an open_clip model name or a folder with open_clip_config.json"
            raise error
        if spec.weights is not None:
            tag = open_clip.get_pretrained_cfg(spec.model, spec.weights) or {}
            mean, std = tag.get("mean", mean), tag.get("std", std)
    _check_config(spec.model, config)
    return Description(config, folder, mean, std)


def build_model(spec: TowerSpec, config: dict[str, Any]) -> tuple[Any, Backbone]:
    """Build the open_clip model of ``config`` with the weights of ``spec``, its text attention split, and its backbone.

    Raises WeightsError for absent, unreadable or unfitting weights, UsageError for an unsupported image encoder.
    """
    from open_clip.model import CLIP, CustomTextCLIP

    path = find_weights(spec)
    if path is not None and is_torchscript(path) and not config.get("quick_gelu", False):
        raise quick_gelu_error(spec.model, str(path), True)  # only OpenAI published its weights in this form
    register_tiny()
    arguments = {k: v for k, v in config.items() if k != "custom_text"}
    # timm's own pretrained weights would be downloaded, to be overwritten by those of ``spec``.
    arguments["vision_cfg"] = {**config["vision_cfg"], "timm_model_pretrained": False}
    with torch.random.fork_rng(devices=[]):  # initial values are drawn here, and by nothing outside this block
        torch.manual_seed(spec.seed)
        model = (CustomTextCLIP if config.get("custom_text") else CLIP)(**arguments)
        if path is not None:
            load_weights(model, load_state(path), str(path), spec.model)
        backbone = _backbone(model.visual, spec.model)
        split_attention_(text_tower(model).transformer)
    return model, backbone


def load_weights(model: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    """Load ``state`` into the open_clip ``model`` called ``name``; WeightsError where not every tensor fits.

    Understands open_clip's names, those of models before the text tower had a module of its own, EVA-CLIP's
    (:mod:`repro.clip.weights.eva_names`) and Hugging Face's (:mod:`repro.clip.weights.state_names`).
    """
    from open_clip.model import convert_to_custom_text_state_dict

    own = model.state_dict()
    if has_huggingface_names(state):
        state = from_huggingface(state)
    if any(n.startswith("text.") for n in own):
        state = convert_to_custom_text_state_dict(state)
    if has_eva_names(state):
        state = from_eva(state)
    if "logit_scale" in state and "logit_scale" in own:
        state["logit_scale"] = state["logit_scale"].reshape(own["logit_scale"].shape)
    absent, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{n}: {tuple(state[n].shape)} for {tuple(own[n].shape)}"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    if absent or extra or shapes:
        faults = [
            f"{len(items)} {kind} ({items[0]}, ...)"
            for kind, items in (("absent", absent), ("unknown", extra), ("of another shape", shapes))
            if items
        ]
        raise WeightsError(
            f"the weights {source} do not fit the model {name}",
            expected=f"the {len(own)} tensors of {name}",
            found="; ".join(faults),
            mend="name the model the weights belong to",
        )
    model.load_state_dict(state)


def _backbone(visual: Any, name: str) -> Backbone:
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer
    from timm.models.convnext import ConvNeXt
    from timm.models.eva import Eva

    if isinstance(visual, VisionTransformer):
        return vit_backbone(visual)
    if isinstance(visual, ModifiedResNet):
        return resnet_backbone(visual)
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, Eva):
        return eva_backbone(visual, name)
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, ConvNeXt):
        return convnext_backbone(visual, name)
    raise unsupported(name, type(getattr(visual, "trunk", visual)).__name__)


def _check_config(name: str, config: dict[str, Any]) -> None:
    """Refuse what the configuration alone shows to be unsupported, before anything large is built."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    special = [k for k in ("multimodal_cfg", "init_logit_bias") if config.get(k)]
    special += [k for k in ("attentional_pool", "block_type", "qk_norm", "scale_attn") if vision.get(k)]
    special += [k for k in ("hf_model_name", "embed_cls", "block_type", "qk_norm", "scale_attn") if text.get(k)]
    if special:
        raise unsupported(name, ", ".join(special))
