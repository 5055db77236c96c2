"""The recordings of the official CAT-Seg network (tests/golden/README.md)."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def _load_fill() -> Any:
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fill = _load_fill()
"""The rule by which weights and inputs are made: ``fill.value``, ``fill.image``, ``fill.label``."""


class Entry(NamedTuple):
    """One line of an official checkpoint."""

    name: str
    shape: tuple[int, ...]
    is_parameter: bool
    trains: bool


@functools.cache
def entries(size: str) -> tuple[Entry, ...]:
    """Every entry of the official checkpoint of this size ("B", "L")."""
    lines = (GOLDEN / f"state_dict_{size}.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return tuple(Entry(r[0], ast.literal_eval(r[1]), r[3] == "param", r[4] == "trainable") for r in rows)


def shapes(size: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the official checkpoint of this size."""
    return {entry.name: entry.shape for entry in entries(size)}


@functools.cache
def manifest() -> dict[str, dict[str, Any]]:
    """Case and tensor -> full shape, strides of what is stored, statistics of the whole."""
    found: dict[str, dict[str, Any]] = json.loads((GOLDEN / "manifest.json").read_text())
    return found


def recorded(case: str) -> dict[str, NDArray[Any]]:
    """The stored tensors of a case."""
    with np.load(GOLDEN / f"{case}.npz") as stored:
        return {name: stored[name] for name in stored.files}


def sample(full: Any, case: str, name: str) -> NDArray[Any]:
    """The part of ``full`` that is stored of this tensor; AssertionError where its shape is not the recorded one."""
    facts = manifest()[case][name]
    assert list(full.shape) == facts["full_shape"], name
    part: NDArray[Any] = np.asarray(full)[tuple(slice(None, None, s) for s in facts["strides"])]
    return part
