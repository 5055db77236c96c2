"""Training crops whose labels are names: which of the set's classes each image has, and no mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

from repro.captions.training_set import LabelFolder
from repro.errors import ReproError
from repro.launch import processes

NONE = -1
"""Fills the numbers of classes of an image that has fewer than another."""


class NamedSample(TypedDict):
    """One crop, or a batch: uint8 RGB (B, 3, S, S), numbers of classes int64 (B, most) or -1, positions (B,)."""

    image: Tensor
    named: Tensor
    position: Tensor


class NamedCrops(Dataset["NamedSample | ReproError"]):
    """Crops of labelled images, by (index, position); what cannot be read is RETURNED as the error.

    Raises what :meth:`repro.captions.training_set.LabelFolder.open` raises.
    """

    def __init__(self, labels: LabelFolder, side: int, seed: int) -> None:
        self.data = labels.open(side, seed)
        self._number = {name: number for number, name in enumerate(labels.vocabulary)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: tuple[int, int]) -> NamedSample | ReproError:
        sample = self.data[item]
        if isinstance(sample, ReproError):
            return sample
        numbers = [self._number[name] for name in dict.fromkeys(sample["labels"])]
        named = torch.full((self.data.most,), NONE)
        named[: len(numbers)] = torch.tensor(numbers)
        return {"image": sample["image"], "named": named, "position": torch.tensor(sample["position"])}

    def place(self, index: int) -> str:
        """Say which image that of number ``index`` is."""
        return self.data.record(index).image


def present_classes(named: Tensor, classes: Sequence[str]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return which of the classes of a step each image has, of this process (B, N) and of all, and these N classes.

    ``named`` (B, most) are numbers in ``classes``. The classes of a step are those that an image of the whole batch
    has: what no caption of it names may still be in an image, and is never asked about.
    """
    whole = torch.cat(processes.gathered(named))
    known = torch.unique(whole[whole != NONE])  # ascending
    every = _table(whole, known)
    first = processes.rank() * len(named)
    return every[first : first + len(named)], every, tuple(classes[number] for number in known.tolist())


def _table(named: Tensor, known: Tensor) -> Tensor:
    place = torch.searchsorted(known, named.clamp(min=0))
    place = torch.where(named == NONE, len(known), place)
    present = torch.zeros(len(named), len(known) + 1, dtype=torch.bool, device=named.device)
    present.scatter_(1, place, torch.ones_like(place, dtype=torch.bool))
    return present[:, :-1]
