"""What models of other libraries share as methods: a list of classes that is given, and weights that are tensors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from repro.errors import UsageError, WeightsError
from repro.interop.adapters import ForeignModel
from repro.interop.class_names import match, with_synonyms
from repro.methods.interface import Method
from repro.methods.weights import describe_misfit, read_torch
from repro.pickles import plain_copy

_COUNTER = "num_batches_tracked"


class ClosedMethod(Method):
    """A network with a class list of its own, asked for classes by name.

    Classes that the network has and nobody asks for are left out of the arg-max. Where a data set has a background,
    every class of the network that is none of its others counts as background.
    """

    def __init__(self, options: ForeignModel, names: Sequence[str]) -> None:
        super().__init__()
        self.options, self.names = options, tuple(names)
        self._channels: dict[tuple[str, ...], list[int]] = {}

    @abstractmethod
    def every_class(self, images: Tensor) -> Tensor:
        """Return logits (B, M, h, w) of all M classes of the network for images (B, 3, H, W), RGB, 0..255."""

    def forward(self, images: Tensor, classes: Sequence[str]) -> Tensor:
        if not classes:
            raise ValueError("no class to segment")
        channels = self.channels(classes)  # before the network: names that do not match are said at once
        every = self.every_class(images)
        if every.shape[1] != len(self.names):
            raise UsageError(
                f"the model gives {every.shape[1]} maps and has {len(self.names)} names of classes",
                expected="one map per class",
                found=f"{every.shape[1]} maps",
                mend=self.options.rename(),
            )
        return every[:, channels]

    def channels(self, classes: Sequence[str]) -> list[int]:
        """Return the channel of each of ``classes``; UsageError where the network has no class of a name."""
        asked = tuple(classes)
        if asked not in self._channels:
            self._channels[asked] = match(with_synonyms(asked), self.names, self.options.rename())
        return self._channels[asked]

    def prompts(self, names: Sequence[str], background: int | None) -> tuple[str, ...]:
        """Return ``names``, with all other classes of the network in place of those that mean background."""
        if background is None:
            return tuple(names)
        own = match(with_synonyms(names)[:background], self.names, self.options.rename())
        rest = [index for index in range(len(self.names)) if index not in own]
        asked = (*names[:background], *(self.names[index] for index in rest))
        self._channels[asked] = [*own, *rest]
        return asked

    def loss(self, images: Tensor, labels: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
        raise NotImplementedError("a model of another library is trained by its library")


def read_checkpoint(path: Path, wrapper: str) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Return the state dict in ``path`` (below ``wrapper``, or the file itself), and all that the file holds.

    Raises WeightsError for what cannot be read as tensors and plain values: nothing of it is executed.
    """
    try:
        stored = read_torch(path)
    except WeightsError as error:
        if error.mend and "import-checkpoint" in error.mend:
            error.mend = f"{plain_copy(path, imports=False)}; then name that file"
        raise
    whole = stored if isinstance(stored, Mapping) else {}
    state = whole.get(wrapper, whole)
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors:
        raise WeightsError(
            f"{path} holds no tensors by name",
            expected=f"a state dict, alone or below {wrapper!r}",
            found=type(stored).__name__ + (f" with {', '.join(map(str, list(whole)[:8]))}" if whole else ""),
            mend="name the checkpoint that the library writes",
        )
    prefix = "module."
    if all(name.startswith(prefix) for name in tensors):  # of a model that was spread over devices
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors, whole


def fill(model: nn.Module, state: Mapping[str, Tensor], path: Path, config: Path) -> None:
    """Load ``state`` into ``model``; WeightsError that lists names and shapes where they do not fit.

    Counters of batches may be absent, and constants that the model has made itself may be there.
    """
    own = model.state_dict()
    made = {name for name, _ in model.named_buffers()} - own.keys()
    needed = {name: tensor for name, tensor in own.items() if name in state or not name.endswith(_COUNTER)}
    given = {name: tensor for name, tensor in state.items() if name not in made}
    if misfit := describe_misfit(needed, given):
        raise WeightsError(
            f"{path} does not fit the model of {config}",
            expected="the names and shapes of that model",
            found=misfit,
            mend="name the configuration that this checkpoint was trained with",
        )
    model.load_state_dict(given, strict=False)
