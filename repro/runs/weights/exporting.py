"""Give our weights of a method the names and the layout of its authors' code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from repro.checkpoints.official import OfficialFormat
from repro.errors import UsageError
from repro.methods.weights import read_weights, save_torch
from repro.runs.weights.described import DescribedWeights, describe_weights


@dataclasses.dataclass(frozen=True)
class Exported:
    """What an export gave, or would give. ``variant`` is the released size it has, None for a size of its own;
    ``differing`` are options the released code does not have (its default, ours); ``written``: no dry run."""

    path: Path
    method: str
    variant: str | None
    num_tensors: int
    differing: dict[str, tuple[Any, Any]]
    written: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "file": str(self.path),
            "method": self.method,
            "variant": self.variant,
            "num_tensors": self.num_tensors,
            "differing_options": {k: {"released": a, "here": b} for k, (a, b) in self.differing.items()},
            "written": self.written,
        }


def export_checkpoint(path: Path, out: Path, *, dry_run: bool = False) -> Exported:
    """Write the weights file ``path`` (or that in a run's folder) to ``out`` as ``{"model": {official name: tensor}}``.

    WeightsError for a file not of ours, UsageError for a method without official form or an ``out`` that exists.
    """
    described = describe_weights(path)
    official = described.entry.official_format()
    if official is None:
        raise UsageError(
            f"{described.entry.title} has no official checkpoints to export to",
            expected="a method whose authors released code",
            found=described.entry.name,
            mend=f"{described.path} is a plain torch file: header and state_dict",
        )
    if out.exists():
        raise UsageError(f"{out} exists", expected="a new file", mend="name another file with --out")
    state = official_state(described, official)
    if not dry_run:
        save_torch(out, {"model": state, "__author__": "repro"})
    options = described.entry.make_options(described.options)
    size = (described.tower.model, described.tower.resolution)
    variant = next((v for v, o in official.variants.items() if (o.tower.model, o.tower.resolution) == size), None)
    released = described.entry.make_options(official.variants[variant].options if variant else {})
    return Exported(out, described.entry.name, variant, len(state), _differences(released, options), not dry_run)


def official_state(described: DescribedWeights, official: OfficialFormat) -> dict[str, Tensor]:
    """Return the tensors of ``described`` under official names, with the buffers the official modules store."""
    state = read_weights(described.path)["state_dict"]
    patch = state["clip.model.visual.conv1.weight"].shape[-1]
    options = described.entry.make_options(described.options)
    buffers = official.buffers(options, described.tower.resolution // patch)
    return {**{official.official_name(name): tensor for name, tensor in state.items()}, **buffers}


def _differences(released: Any, ours: Any) -> dict[str, tuple[Any, Any]]:
    pairs = {f.name: (getattr(released, f.name), getattr(ours, f.name)) for f in dataclasses.fields(released)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
