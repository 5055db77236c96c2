"""Which tokens of a class are foreground (Sec. 3.3): the k most salient, ties broken by place."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def most_salient(saliency: Tensor, k: int) -> Tensor:
    """Return mask (..., L), True at the ``k`` largest of ``saliency`` (..., L); of equals the first places win.

    Raises ValueError unless 0 <= k <= L.
    """
    places = saliency.shape[-1]
    if not 0 <= k <= places:
        raise ValueError(f"{k} of {places} tokens cannot be kept")
    order = saliency.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(saliency, dtype=torch.bool).scatter(-1, order[..., :k], True)


def salient_mass(saliency: Tensor, share: float) -> Tensor:
    """Return mask (..., L) of the fewest tokens with ``share`` of the sum of ``saliency`` (..., L); none if it is 0."""
    values, order = saliency.sort(dim=-1, descending=True, stable=True)
    before = values.cumsum(dim=-1) - values
    keep = (before < share * values.sum(dim=-1, keepdim=True)) & (values > 0)
    return torch.zeros_like(keep).scatter(-1, order, keep)


def relative(saliency: Tensor) -> Tensor:
    """Divide ``saliency`` (..., L), at least 0, by its largest value, a constant; 0 everywhere where that is 0.

    A class whose attention has left all places of positive gradient has a largest value that underflows, and its
    inverse would be infinite: below the root of the smallest number it is taken for that root.
    """
    largest = saliency.detach().amax(dim=-1, keepdim=True)
    return saliency / largest.clamp_min(torch.finfo(saliency.dtype).tiny ** 0.5)


def drawn_saliency(classes: Sequence[str], places: int, device: torch.device) -> Tensor:
    """Return uniform values (N, places) that depend on the class's name alone, the same in every process."""
    rows = []
    for name in classes:
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        rows.append(torch.rand(places, generator=generator))
    return torch.stack(rows).to(device)
