"""The interface every method implements and the only thing the engine knows of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn


class Method(nn.Module, ABC):
    """An open-vocabulary segmenter.

    Images are float tensors (B, 3, H, W), RGB, 0..255; the method normalises and resizes them itself. Classes are
    names; the method turns them into prompts. A method knows no file, no data set and no device name.
    """

    activation: Literal["sigmoid", "softmax"] = "softmax"
    """What turns logits into the scores that are averaged over windows."""

    supervision: Literal["masks", "image labels"] = "masks"
    """What the loss reads of the labels: the mask, or the set of classes that are in it."""

    threshold: str = ""
    """The option that is a threshold: the score, in 0..1, below which the best class of a pixel is background."""

    @abstractmethod
    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return logits (B, N, h, w) for N = len(classes); h, w are the method's own output size.

        Raises ValueError for an empty class list.
        """

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return named scalars for images (B, 3, H, W) and labels (B, H, W) int64 (255: ignored); the sum is minimised.

        Names that do not start with ``loss`` are logged and not optimised.
        """

    def image_loss(self, images: Tensor, present: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return named scalars as :meth:`loss` for images whose labels say which of ``classes`` each has, and no more.

        ``present`` is (B, N) bool. A method whose :attr:`supervision` is image labels has it, and can then be trained
        on captions; all values are means over the images. Default: NotImplementedError.
        """
        raise NotImplementedError(f"{type(self).__name__} learns from masks")

    def loss_over(self, name: str) -> Literal["images", "pixels"]:
        """Say whether the value ``name`` of :meth:`loss` is a mean over the batch's images or over its labelled pixels.

        From it the harness puts the loss of a batch together that it has divided over processes or parts. Default:
        images, which is also right for a mean over all pixels, labelled or not.
        """
        del name
        return "images"

    def prompts(self, names: Sequence[str], background: int | None) -> tuple[str, ...]:
        """Return the classes to give the method for ``names``, of which those from ``background`` on mean background.

        The first ``background`` of them must stay; every later prediction counts as background (None: there is none).
        A method with a rule of its own for background names fewer. Default: all.
        """
        return tuple(names)

    def texts(self, classes: Sequence[str]) -> list[tuple[str, ...]]:
        """Return what the text encoder reads of each of ``classes``: one text per prompt, of all words that are read.

        Two classes with equal texts are one to the method. Default: the name itself.
        """
        return [(name,) for name in classes]

    def param_groups(self, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return optimiser groups over exactly the parameters that train: dicts with params, lr, weight_decay, name."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return [{"name": "all", "params": trained, "lr": lr, "weight_decay": weight_decay}]

    def switches(self) -> dict[str, Any]:
        """Return options, as plain data, without which trained weights mean something else though names and shapes fit.

        They are stored with the weights; weights trained with others are refused. Default: none.
        """
        return {}

    def stages(self) -> Mapping[str, Sequence[tuple[nn.Module, str]]]:
        """Return parts of a forward pass that timings tell apart: of each the methods (module, name) it consists of.

        The image tower (``clip``) and what is left (``other``) need no naming; one part may run inside another. Names
        in use: ``saliency``, ``aggregation``, ``decoder``. Default: none.
        """
        return {}

    def at_threshold(self, logits: Tensor, classes: Sequence[str], value: float) -> Tensor:
        """Return ``logits`` (B, N, h, w) of ``classes`` as they are with ``value`` as the option :attr:`threshold`.

        A method with a threshold has it: many thresholds then take one forward pass. Default: NotImplementedError.
        """
        raise NotImplementedError(f"{type(self).__name__} has no threshold")

    @torch.no_grad()
    def class_queries(self, images: Tensor, classes: Sequence[str]) -> Tensor | None:
        """Return the vector (B, N, D) that stands for each of ``classes`` where it last meets ``images``.

        They must differ for a method to tell classes apart. Default: None, no such vectors.
        """
        del images, classes
        return None

    @torch.no_grad()
    def scores(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        """Return scores (B, N, h, w) in 0..1, ready to be averaged over windows."""
        return self.activate(self(images, classes))

    def activate(self, logits: Tensor) -> Tensor:
        """Map logits (B, N, h, w) to scores in 0..1 by the method's ``activation``, over the N classes."""
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(dim=1)

    @torch.no_grad()
    def diagnostics(self, images: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        """Return maps that explain the prediction, for figures and measurements; a method returns those it has.

        All are detached (B, N, h, w) at the method's own resolution: ``saliency`` (>= 0, any scale), ``foreground``
        (0 or 1: what counts as foreground of each class), ``attention`` (that which a saliency weights, by itself) and
        ``correlation`` (image-text similarity where the method last holds one map per class). Default: none.
        """
        return {}
