"""One interface to all CLIP towers: dense image features and text features of class names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.clip.attention import join_attention
from repro.clip.backbone import Backbone, DenseFeatures, DenseOptions
from repro.clip.models import Description, build_model, describe_model
from repro.clip.spec import TowerSpec
from repro.clip.text import BATCH, FeatureCache, autocast_state, encode_tokens, weights_state
from repro.clip.text_cache import TextStore
from repro.errors import UsageError

LONGEST = 1024
"""Tokens up to which a text that is too long is still told from one that fits."""

__all__ = ["ClipTower", "DenseFeatures", "build_tower"]


EXPECTED = "expected"
"""Key of the features of the texts that a training expects."""
KEPT_TEXTS = 20_000
"""Texts whose token ids are kept, some 600 bytes each."""


class ClipTower(nn.Module):
    """A CLIP model (``model``, of open_clip, its text attention split) as methods see it.

    ``grid`` is the side of the dense map in places, ``embed_dim`` the channels of dense and text features, ``depth``
    the number of image blocks that can be guides (stages for ConvNeXt and ResNet), ``width`` the channels of the last
    of them, ``resolution`` the side in pixels images are resized to. For transformers all guides have ``width``
    channels and the map's grid; :meth:`guide_channels` and :meth:`guide_grid` tell for every model.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: Any,
        backbone: Backbone,
        tokenize: Callable[[list[str]], Tensor],
        spec: TowerSpec,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.model, self.spec = model, spec
        self._features, self._strides, self._channels = backbone.features, backbone.strides, backbone.channels
        self._blocks = tuple(backbone.blocks)  # a tuple: they are registered as parts of ``model`` already
        self._options = DenseOptions(
            spec.last_block if backbone.residual else "full",
            spec.dense_residual or backbone.residual or "token",
            spec.position == "antialias",
        )
        self.embed_dim: int = backbone.embed_dim
        self.depth: int = len(self._blocks)
        self.width: int = backbone.channels[-1]
        self.resolution: int = spec.resolution
        self._check_size((spec.resolution, spec.resolution))
        self.grid: int = spec.resolution // self._strides[-1]
        self._tokenize = tokenize
        self._ids: dict[str, Tensor] = {}
        self._vocabulary: dict[str, int] = {}
        self._cache = FeatureCache()
        self.text_store: TextStore | None = None  # see keep_text
        self.register_buffer("mean", torch.tensor([255 * v for v in mean]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([255 * v for v in std]).view(3, 1, 1), persistent=False)

    @property
    def logit_scale(self) -> Tensor:
        """The factor on cosines the model was trained with (a scalar, about 100 for OpenAI's)."""
        return self.model.logit_scale.exp().squeeze()

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The blocks of the image encoder in order (stages for ConvNeXt and ResNet), to train or freeze."""
        return self._blocks

    def guide_channels(self, index: int) -> int:
        """Return the number of channels of the output of image block ``index``; UsageError for one there is not."""
        self._check_block(index, self.depth)
        return self._channels[index]

    @staticmethod
    def _check_block(index: int, blocks: int) -> None:
        if not 0 <= index < blocks:
            raise UsageError(
                f"the image tower gives no output of block {index}",
                expected=f"0 .. {blocks - 1}",
                found=index,
                mend="choose other blocks in the profile, or with -o",
            )

    def guide_grid(self, index: int) -> int:
        """Return the side in places of the output of image block ``index`` at ``resolution``."""
        return self.resolution // self._strides[index]

    def train_only(self, suffixes: Iterable[str] = (), *, within: str = "") -> None:
        """Freeze all parameters but those whose names end with one of ``suffixes`` and begin with ``within``.

        The image encoder is ``model.visual.``; ``train_only([""], within="model.visual.")`` trains all of it. What
        ends the names of attention projections: ``q_proj_weight`` (vision and text transformers of open_clip),
        ``q_proj.weight`` (EVA); see repro.clip.attention, repro.clip.eva and repro.clip.convnext.
        """
        endings = tuple(suffixes)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(bool(endings) and name.startswith(within) and name.endswith(endings))

    def dense(
        self, images: Tensor, guides: Sequence[int] = (), *, size: tuple[int, int] | None = None
    ) -> DenseFeatures:
        """Compute dense features of ``images`` (B, 3, H, W), RGB, 0..255, any size: map (B, embed_dim, grid, grid).

        Images are resized to ``resolution`` squared, or to ``size`` (height, width) in pixels, which makes the map's
        grid that of ``size``. ``guides`` are indices of blocks whose outputs (B, channels, height, width) are wanted
        too: in transformers maps (B, width, grid, grid) of the tokens after a block, in ConvNeXt and ResNet those of
        stages at their own strides (4, 8, 16, 32). UsageError for one that does not exist or, in a transformer with
        ``last_block="value"``, for the last, and for a size that patches do not tile.
        """
        last = self.depth - (1 if self._options.last_block == "value" else 0)
        for index in guides:
            self._check_block(index, last)
        if size is None:
            size = (self.resolution, self.resolution)
        else:
            self._check_size(size)
        images = (images - self.mean) / self.std
        if images.shape[-2:] != size:
            images = F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        return self._features(self.model.visual, images, guides, self._options)

    def _check_size(self, size: tuple[int, int]) -> None:
        stride = self._strides[-1]
        if min(size) < stride or (not self.spec.drop_remainder and any(side % stride for side in size)):
            raise UsageError(
                f"the tower's resolution is not a multiple of its patch size {stride}",
                expected=f"a multiple of {stride}",
                found=size[0] if size[0] == size[1] else size,
                mend="change `resolution` of the tower in the profile, or set `drop_remainder`",
            )

    def open_clip_state(self) -> dict[str, Tensor]:
        """Return the model's tensors under open_clip's names: what a file of ``weights`` of a TowerSpec may hold."""
        return join_attention(self.model.state_dict())

    @torch.compiler.disable  # tokenising and the cache are Python
    def text(self, names: Sequence[str], template: str) -> Tensor:
        """Return L2-normalised features (N, C) of ``template`` with each of ``names`` in place of ``{}``.

        With a graph where text parameters train and gradients are recorded; cached otherwise, until a weight changes,
        and kept on disk where a ``text_store`` is set (:func:`keep_text`).
        Raises ValueError for no names.
        """
        if not names:
            raise ValueError("no class names to encode")
        texts = [template.replace("{}", name) for name in names]
        parameters = self._text_parameters()
        if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
            return self._encode(texts)
        device = parameters[0].device
        rows = [self._vocabulary.get(text, -1) for text in texts] if self.training else [-1]
        known = min(rows) >= 0
        key = (EXPECTED if known else tuple(texts), autocast_state(device))
        features = self._cache.get(key, weights_state(parameters))
        if features is None:
            # Not an inference tensor even when asked for in inference mode: it may take part in a graph later.
            with torch.inference_mode(False), torch.no_grad():
                features = self._stored(list(self._vocabulary) if known else texts, parameters)
            self._cache.put(key, features)
        return features[torch.tensor(rows, device=device)] if known else features

    def expect(self, texts: Iterable[str]) -> None:
        """Encode ``texts`` together in training, as soon as one is asked for, where no text parameter trains.

        A training that draws classes for every step asks for another list each time. What a text's features are does
        not depend on which list came first, so that a resumed training ends with the same bits.
        """
        self._vocabulary = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        self._cache.clear()

    def tokens(self, texts: Sequence[str]) -> list[tuple[tuple[int, ...], bool]]:
        """Return the token ids of each text as the model reads them, and whether a text was longer than it can read."""
        found = self._tokenize(list(texts))
        whole = self._tokenize_whole(list(texts))
        return [
            (tuple(own.tolist()), bool((full != 0).sum() > len(own))) for own, full in zip(found, whole, strict=True)
        ]

    def _tokenize_whole(self, texts: list[str]) -> Tensor:
        """Return token ids without the limit of the model, where the tokenizer has one that can be lifted."""
        if not isinstance(self._tokenize, partial):
            return self._tokenize(texts)
        return self._tokenize.func(texts, context_length=LONGEST)

    def _stored(self, texts: list[str], parameters: list[nn.Parameter]) -> Tensor:
        """Return features from disk where they are kept there, else computed; in float32 only, the type files hold."""
        device = parameters[0].device
        if self.text_store is None or device.type == "meta" or autocast_state(device) is not None:
            return self._encode(texts)
        key = self.text_store.key(parameters, texts, device.type)
        features = self.text_store.get(key, texts, self._encode)
        if features is None:
            features = self._encode(texts)
            if features.dtype == torch.float32:
                self.text_store.put(key, features)
        return features.to(device)

    def _encode(self, texts: list[str]) -> Tensor:
        return torch.cat([encode_tokens(self.model, part) for part in self._token_ids(texts).split(BATCH)])

    def _token_ids(self, texts: list[str]) -> Tensor:
        """Return token ids (texts, length), made once per text: a training reads the same few hundred every step."""
        if len(self._ids) > KEPT_TEXTS:
            self._ids.clear()
        if new := [text for text in dict.fromkeys(texts) if text not in self._ids]:
            self._ids.update(zip(new, self._tokenize(new), strict=True))
        return torch.stack([self._ids[text] for text in texts])

    def _text_parameters(self) -> list[nn.Parameter]:
        return [p for n, p in self.model.named_parameters() if not n.startswith("visual.")]

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; cached text features are forgotten."""
        self._cache.clear()
        return super().train(mode)


def build_tower(spec: TowerSpec) -> ClipTower:
    """Build the tower ``spec`` describes, on the CPU, in float32, in evaluation mode.

    Supported are open_clip's vision transformers, ConvNeXt, EVA and ResNets with a plain text transformer. Raises
    WeightsError for absent, unreadable or unfitting weights, UsageError for an unknown model and another architecture.
    """
    described = describe_model(spec)
    model, backbone = build_model(spec, described.config)
    return ClipTower(model, backbone, _tokenizer(spec, described), spec, described.mean, described.std).eval()


def _tokenizer(spec: TowerSpec, described: Description) -> Callable[[list[str]], Tensor]:
    import open_clip

    text = described.config["text_cfg"]
    context = text.get("context_length", 77)
    if text.get("hf_tokenizer_name") or text.get("tokenizer_kwargs"):
        tokenizer: Callable[[list[str]], Tensor] = open_clip.get_tokenizer(
            f"local-dir:{described.folder}" if described.folder else spec.model
        )
        return tokenizer
    return partial(open_clip.tokenize, context_length=context)


def keep_text(module: nn.Module, folder: Path) -> None:
    """Let every CLIP tower within ``module`` keep its text features in ``folder``."""
    for part in module.modules():
        if isinstance(part, ClipTower):
            part.text_store = TextStore(folder)
