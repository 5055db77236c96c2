"""Trained weights small enough to come with the package: what training changed of a method as it is built on its tower.

A file of safetensors, floating point numbers in half precision; what it does not hold is as it is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import WeightsError
from repro.files import write_atomic
from repro.towers.shipped import content_of

if TYPE_CHECKING:
    from torch import Tensor

    from repro.methods.interface import Method

SUFFIX = ".safetensors"
RENEWED = "train and pack again: repro run table1 && repro check --weights --update"
"""How a mend says what makes new packed weights."""


def pack(trained: Mapping[str, Tensor], built: Mapping[str, Tensor], facts: Mapping[str, Any], path: Path) -> str:
    """Write to ``path`` what of ``trained`` is not, to the bit, as in ``built``, and ``facts``; return its digest."""
    import torch
    from safetensors.torch import save

    tensors = {
        name: _halved(value).contiguous() for name, value in trained.items() if not torch.equal(value, built[name])
    }
    content = content_of(tensors)
    whole = save(tensors, {"facts": json.dumps(dict(facts)), "content": content})
    write_atomic(path, lambda stream: stream.write(whole))
    return content


def read(path: Path, content: str) -> dict[str, Tensor]:
    """Return the tensors in ``path``; WeightsError where it is damaged or has another digest than ``content``."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
        found = content_of(tensors)
    except (OSError, SafetensorError) as error:
        tensors, found = {}, str(error)
    if found != content:
        raise WeightsError(
            f"{path} is not the file of packed weights that the reference was made with",
            expected=content,
            found=found,
            mend=f"install the package again, or {RENEWED}",
        )
    return tensors


def fill(method: Method, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give ``method``, as it is built, the ``tensors`` of ``path``; WeightsError where it has no place for them."""
    from repro.methods.weights import describe_misfit

    built = method.state_dict()
    if misfit := describe_misfit(built, {**built, **tensors}):
        raise WeightsError(
            f"{path} does not fit the method any more",
            expected="the names and shapes of this method",
            found=misfit,
            mend=f"undo the change, or {RENEWED}",
        )
    method.load_state_dict({**built, **{name: value.to(built[name].dtype) for name, value in tensors.items()}})


def _halved(value: Tensor) -> Tensor:
    """Return it in half precision where it is of floating point numbers that half precision can hold."""
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if half.isfinite().all() else value
