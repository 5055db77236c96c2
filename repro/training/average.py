"""The mean of the trained weights over the last iterations in place of the last ones.

Where the last step happens to lead differs by rounding and by seed; the mean over many steps differs by less (Polyak &
Juditsky 1992; of networks: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_swa_multi_avg_fn


class TailAverage:
    """The mean of ``parameters`` after each of the iterations that follow the ``first``; float32, of equal weight."""

    def __init__(self, parameters: Iterable[nn.Parameter], first: int) -> None:
        self.parameters, self.first = [p for p in parameters if p.requires_grad], first
        self.means: list[Tensor] = []
        self.count = 0

    @torch.no_grad()
    def add(self, done: int) -> None:
        """Take in the weights as they are after ``done`` iterations, where these count."""
        if done <= self.first:
            return
        if not self.means:
            self.means = [p.detach().float().clone() for p in self.parameters]
        else:
            _towards(self.means, [p.detach().float() for p in self.parameters], torch.tensor(self.count))
        self.count += 1

    @torch.no_grad()
    def put(self) -> None:
        """Write the means into the parameters; they stay as they are where no iteration counted."""
        for parameter, mean in zip(self.parameters, self.means, strict=bool(self.means)):
            parameter.copy_(mean)

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` needs to continue."""
        return {"means": self.means, "count": self.count}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state`."""
        kept = state["means"]
        self.means = [mean.to(p.device) for mean, p in zip(kept, self.parameters, strict=True)] if kept else []
        self.count = int(state["count"])


_towards = get_swa_multi_avg_fn()
