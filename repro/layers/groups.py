"""Optimiser groups as the released codes of the field make them: new modules, CLIP weights, and what does not decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

NORMS = (nn.LayerNorm, nn.GroupNorm)


def optimizer_groups(
    method: nn.Module, lr: float, weight_decay: float, clip_factor: float, undecayed: Iterable[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Sort the parameters of ``method`` that train into groups (params, lr, weight_decay, name), empty ones left out.

    What lies below ``clip.`` learns at ``lr`` times ``clip_factor``; norm layers and ``undecayed`` have no weight decay
    (detectron2's WEIGHT_DECAY_NORM = 0).
    """
    exempt = {id(p) for m in method.modules() if isinstance(m, NORMS) for p in m.parameters(recurse=False)}
    exempt |= {id(p) for p in undecayed}
    groups: dict[str, dict[str, Any]] = {
        "new": {"lr": lr, "weight_decay": weight_decay},
        "new_norms": {"lr": lr, "weight_decay": 0.0},
        "clip": {"lr": lr * clip_factor, "weight_decay": weight_decay},
        "clip_norms": {"lr": lr * clip_factor, "weight_decay": 0.0},
    }
    members: dict[str, list[nn.Parameter]] = {name: [] for name in groups}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            kind = "clip" if name.startswith("clip.") else "new"
            members[f"{kind}_norms" if id(parameter) in exempt else kind].append(parameter)
    return [{"name": n, "params": members[n], **settings} for n, settings in groups.items() if members[n]]
