"""Any method of ours as a segmentor of mmsegmentation: predicted by our windows, trained by our loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from repro.api import load
from repro.datasets.benchmarks import get_benchmark
from repro.errors import UsageError
from repro.evaluation.infer import SlidingWindow
from repro.methods.weights import save_weights
from repro.requests import UNTRAINED, RunRequest
from repro.training.pipeline import IGNORED, PADDING

PREPROCESSOR = {
    "type": "mmseg.SegDataPreProcessor",
    "bgr_to_rgb": True,
    "size_divisor": 1,
    "pad_val": PADDING,
    "seg_pad_val": IGNORED,
}
"""Methods take RGB of 0 to 255 and normalise it themselves."""


@MODELS.register_module()
class ReproSegmentor(BaseSegmentor):
    """The method ``method`` with its options and weights, asked for the classes of one data set.

    ``weights``: a weights file of ours, "none" for the method before its training, None for what the store has.
    ``words``: fields of :class:`repro.requests.RunRequest` (profile, tower, options, seed, runs, ..). ``classes`` is
    the id of the set that is evaluated, or a list of names; ``train_classes`` (default: the same) that of the training.

    Images must come at their own size: the protocol of the profile resizes them. Labels that are 255 or
    ``ignore_index`` and above do not count in the loss.
    """

    def __init__(
        self,
        method: str,
        classes: str | Sequence[str],
        weights: str | None = UNTRAINED,
        train_classes: str | Sequence[str] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
        **words: Any,
    ) -> None:
        super().__init__(data_preprocessor=dict(data_preprocessor or PREPROCESSOR), init_cfg=init_cfg)
        loaded = load(RunRequest(method=method, **_paths(words)), weights, device="cpu")
        self.method, self.run = loaded.method, loaded.run
        self.window = SlidingWindow(self.run.profile.protocol)
        names, self.background = _classes(classes)
        self.prompts = self.method.prompts(names, self.background)
        self.num_classes = len(names) if self.background is None else self.background + 1
        self.train_names, _ = _classes(classes if train_classes is None else train_classes)

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Return what the method gives for whole images (B, 3, H, W): logits (B, N, h, w)."""
        return self.method(inputs, self.prompts)

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """Return :meth:`extract_feat`."""
        del data_samples
        return self.extract_feat(inputs)

    @torch.no_grad()
    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Return scores (B, N, H, W) of images of one size by the protocol, before background is folded."""
        del batch_data_samples
        return torch.stack([self.window.scores(self.method, image, self.prompts) for image in _pixels(inputs)])

    @torch.no_grad()
    def predict(self, inputs: Tensor, data_samples: Any = None) -> list[SegDataSample]:
        """Return samples with ``pred_sem_seg`` (1, H, W) int64: what ``repro eval`` predicts of these images.

        UsageError for images that a pipeline has resized.
        """
        samples = data_samples if data_samples is not None else [SegDataSample() for _ in inputs]
        for image, sample in zip(_pixels(inputs), samples, strict=True):
            _check_size(image.shape[:2], sample)
            (logits,) = self.window.logits(self.method, [self.window.resize(image)], self.prompts)
            found = self.window.labels(self.method, logits, (image.shape[0], image.shape[1]), self.background)
            labels = torch.from_numpy(found.astype(np.int64))[None].to(inputs.device)
            sample.set_data({"pred_sem_seg": PixelData(data=labels)})
        return list(samples)

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Return the method's losses over ``train_classes``; what else it reports is only logged."""
        labels = torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in data_samples]).long()
        labels = labels.masked_fill(labels >= len(self.train_names), IGNORED)
        values = self.method.loss(inputs, labels, self.train_names)
        return {k if k.startswith("loss") else k.replace("loss", "value"): v for k, v in values.items()}

    def save_method(self, path: Path | str) -> Path:
        """Write the weights as a file of ours: ``repro eval METHOD --weights PATH``."""
        save_weights(self.method, Path(path), self.run.entry.name)
        return Path(path)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ReproOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """The parameter groups of the method (its own rates for CLIP), in the optimiser that the configuration names."""

    def __call__(self, model: nn.Module) -> Any:
        from mmengine.registry import OPTIMIZERS

        segmentor: Any = getattr(model, "module", model)
        given = dict(self.optimizer_cfg)
        groups = segmentor.method.param_groups(given["lr"], given.get("weight_decay", 0.0))
        wrapper = {"type": "OptimWrapper", **self.optim_wrapper_cfg}
        return OPTIM_WRAPPERS.build(wrapper, default_args={"optimizer": OPTIMIZERS.build({**given, "params": groups})})


def _classes(classes: str | Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """Return the names to ask for, and from which on they mean background."""
    if not isinstance(classes, str):
        return tuple(classes), None
    data_set = get_benchmark(classes)
    return data_set.prompt_names(), data_set.background_index


def _paths(words: Mapping[str, Any]) -> dict[str, Any]:
    return {k: Path(v) if k in ("runs", "data_root") and v is not None else v for k, v in words.items()}


def _pixels(inputs: Tensor) -> list[np.ndarray]:
    """Return a batch (B, 3, H, W) of 0..255 as uint8 images (H, W, 3)."""
    return list(inputs.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).cpu().numpy())


def _check_size(size: tuple[int, ...], sample: SegDataSample) -> None:
    own = sample.metainfo.get("ori_shape", size)
    if tuple(own[:2]) != tuple(size):
        raise UsageError(
            "the image was resized before the segmentor saw it, and the protocol resizes it itself",
            expected=f"{own[0]}x{own[1]}",
            found=f"{size[0]}x{size[1]}",
            mend="take Resize out of the test pipeline: LoadReproPair, then PackSegInputs",
        )
