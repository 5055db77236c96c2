"""One interface to all CLIP towers: dense image features and text features of class names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.clip.attention import split_attention_
from repro.clip.names import BUILT_IN
from repro.clip.spec import TowerSpec
from repro.clip.text import BATCH, FeatureCache, autocast_state, encode_tokens, weights_state
from repro.clip.vit import DenseFeatures, dense_features
from repro.clip.weights import find_weights, is_torchscript, load_state, model_folder, quick_gelu_error, read_config
from repro.errors import UsageError, WeightsError
from repro.runtime import import_torchvision

__all__ = ["ClipTower", "DenseFeatures", "build_tower"]


class ClipTower(nn.Module):
    """A CLIP model (``model``, an open_clip ``CLIP`` with split attention) as methods see it.

    ``grid`` is the side of the dense map in places, ``width`` the channels of guides, ``embed_dim`` those of dense and
    text features, ``depth`` the number of image blocks, ``resolution`` the side in pixels images are resized to.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: Any,
        tokenize: Callable[[list[str]], Tensor],
        spec: TowerSpec,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        patch = model.visual.patch_size[0]
        if spec.resolution % patch:
            raise UsageError(
                f"the tower's resolution is not a multiple of its patch size {patch}",
                expected=f"a multiple of {patch}",
                found=spec.resolution,
                mend="change `resolution` of the tower in the profile",
            )
        self.model, self.spec = model, spec
        self.resolution: int = spec.resolution
        self.grid: int = spec.resolution // patch
        self.width: int = model.visual.conv1.out_channels
        self.embed_dim: int = model.visual.output_dim
        self.depth: int = len(model.visual.transformer.resblocks)
        self._tokenize = tokenize
        self._cache = FeatureCache()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def logit_scale(self) -> Tensor:
        """The factor on cosines the model was trained with (a scalar, about 100 for OpenAI's)."""
        return self.model.logit_scale.exp().squeeze()

    def train_only(self, suffixes: Iterable[str] = ()) -> None:
        """Freeze all parameters but those whose names end with one of ``suffixes``."""
        endings = tuple(suffixes)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(bool(endings) and name.endswith(endings))

    def dense(self, images: Tensor, guides: Sequence[int] = ()) -> DenseFeatures:
        """Dense features of ``images`` (B, 3, H, W), RGB, 0..255, any size: map (B, C, grid, grid).

        ``guides`` are indices of blocks whose outputs (B, width, grid, grid) are wanted too; IndexError for one that
        does not exist or, with ``last_block="value"``, for the last.
        """
        last = self.depth - (1 if self.spec.last_block == "value" else 0)
        for index in guides:
            if not 0 <= index < last:
                raise IndexError(f"no output of block {index}: the tower runs {last} whole blocks")
        images = (images - self.mean) / self.std
        size = (self.resolution, self.resolution)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        return dense_features(self.model.visual, images, guides, self.spec.last_block, self.spec.dense_residual)

    @torch.compiler.disable  # tokenising and the cache are Python
    def text(self, names: Sequence[str], template: str) -> Tensor:
        """L2-normalised features (N, C) of ``template`` with each of ``names`` in place of ``{}``.

        With a graph where text parameters train and gradients are recorded; cached otherwise, until a weight changes.
        Raises ValueError for no names.
        """
        if not names:
            raise ValueError("no class names to encode")
        texts = [template.replace("{}", name) for name in names]
        parameters = self._text_parameters()
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            return self._encode(texts)
        device = parameters[0].device
        key = (tuple(texts), autocast_state(device))
        features = self._cache.get(key, weights_state(parameters))
        if features is None:
            # Not an inference tensor even when asked for in inference mode: it may take part in a graph later.
            with torch.inference_mode(False), torch.no_grad():
                features = self._encode(texts)
            self._cache.put(key, features)
        return features

    def _encode(self, texts: list[str]) -> Tensor:
        return torch.cat([encode_tokens(self.model, part) for part in self._tokenize(texts).split(BATCH)])

    def _text_parameters(self) -> list[nn.Parameter]:
        return [p for n, p in self.model.named_parameters() if not n.startswith("visual.")]

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; cached text features are forgotten."""
        self._cache.clear()
        return super().train(mode)


def build_tower(spec: TowerSpec) -> ClipTower:
    """The tower ``spec`` describes, on the CPU, in float32, in evaluation mode.

    Raises WeightsError for absent, unreadable or unfitting weights, UsageError for an unknown model and for one that
    is not a vision transformer with a plain text transformer.
    """
    import_torchvision()
    import open_clip
    from open_clip.model import CLIP

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
            raise _unknown_model(spec.model, open_clip.list_models())
        if spec.weights is not None:
            tag = open_clip.get_pretrained_cfg(spec.model, spec.weights) or {}
            mean, std = tag.get("mean", mean), tag.get("std", std)
    _check_supported(spec.model, config)
    path = find_weights(spec)
    if path is not None and is_torchscript(path) and not config.get("quick_gelu", False):
        raise quick_gelu_error(spec.model, str(path), True)  # only OpenAI published its weights in this form
    with torch.random.fork_rng(devices=[]):  # initial values are drawn here, and by nothing outside this block
        torch.manual_seed(spec.seed)
        model = CLIP(**{k: v for k, v in config.items() if k != "custom_text"})
        if path is not None:
            _load(model, load_state(path), str(path), spec.model)
        split_attention_(model.visual.transformer)
        split_attention_(model.transformer)
    return ClipTower(model, _tokenizer(spec, folder, config), spec, mean, std).eval()


def _unknown_model(name: str, known: Iterable[str]) -> UsageError:
    from repro.errors import unknown_name

    error = unknown_name("CLIP model", name, known, mend='python -c "import open_clip; print(open_clip.list_models())"')
    error.expected = "an open_clip model name or a folder with open_clip_config.json"
    return error


def _check_supported(name: str, config: dict[str, Any]) -> None:
    vision, text = config["vision_cfg"], config["text_cfg"]
    plain = ("custom_text", "multimodal_cfg", "init_logit_bias")
    special = [k for k in plain if config.get(k)]
    special += [
        k for k in ("timm_model_name", "attentional_pool", "block_type", "qk_norm", "scale_attn") if vision.get(k)
    ]
    special += [k for k in ("hf_model_name", "embed_cls", "block_type", "qk_norm", "scale_attn") if text.get(k)]
    special += ["layers"] if isinstance(vision.get("layers"), (list, tuple)) else []
    if special:
        raise UsageError(
            f"the architecture of {name} is not supported yet",
            expected="a vision transformer with a plain text transformer, such as ViT-B-16-quickgelu",
            found=", ".join(special),
            mend="choose another model",
        )


def _load(model: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    own = model.state_dict()
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


def _tokenizer(spec: TowerSpec, folder: Any, config: dict[str, Any]) -> Callable[[list[str]], Tensor]:
    import open_clip

    text = config["text_cfg"]
    context = text.get("context_length", 77)
    if text.get("hf_tokenizer_name") or text.get("tokenizer_kwargs"):
        tokenizer: Callable[[list[str]], Tensor] = open_clip.get_tokenizer(
            f"local-dir:{folder}" if folder else spec.model
        )
        return tokenizer
    return partial(open_clip.tokenize, context_length=context)
