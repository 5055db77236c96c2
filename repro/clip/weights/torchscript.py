"""Tensors of a TorchScript archive, read without running anything of the archive.

``torch.jit.load`` compiles the archive's code and runs the ``__setstate__`` of its classes. Here only the object tree
(``data.pkl``) is read, by an unpickler that knows tensors, lists and nothing else, and the tensors' bytes.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repro.errors import WeightsError
from repro.pickles import plain_copy, refused_class, what_is_refused

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

# What a damaged or hostile archive makes the readers raise.
_DAMAGED = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, LookupError, ValueError, TypeError, RuntimeError,
    AttributeError,
)  # fmt: skip


def is_torchscript(path: Path) -> bool:
    """Return True for a TorchScript archive, the form OpenAI published its CLIP weights in."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Read the tensors of the archived module by their dotted names, on the CPU.

    Raises WeightsError for a damaged archive and for one whose objects are more than modules of tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (tree,) = [n for n in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", n)]
            module = _unpickle(archive, tree)
    except _DAMAGED as error:
        if name := refused_class(error):
            raise WeightsError(
                f"{path} holds more than modules of tensors",
                expected="modules, tensors and plain values",
                found=what_is_refused(name),
                mend=plain_copy(path, archive=True),
            ) from error
        raise WeightsError(
            f"{path} cannot be read as a TorchScript archive",
            expected="modules, tensors and plain values",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            mend="fetch the file again from its official page",
        ) from error
    found: dict[str, Tensor] = {}
    _collect(module, "", found)
    return found


def _unpickle(archive: zipfile.ZipFile, tree: str) -> Any:
    folder = tree.rpartition("/")[0]
    # Made anew in every call: what a hostile pickle may do to the objects it is handed ends with the call.
    node, known = _globals()

    class Restricted(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module.startswith("__torch__"):
                return node
            if (module, name) in known:
                return known[module, name]
            if module == "torch" and name in _STORAGES:
                return name
            raise pickle.UnpicklingError(f"the archive asks for {module}.{name}, which is not a tensor")

        def persistent_load(self, key: Any) -> Tensor:
            _kind, storage, record, _device, count = key
            raw = bytearray(archive.read(f"{folder}/data/{record}"))
            values = (
                torch.frombuffer(raw, dtype=_STORAGES[storage]) if raw else torch.empty(0, dtype=_STORAGES[storage])
            )
            if len(values) != count:
                raise pickle.UnpicklingError(f"record {record} holds {len(values)} values instead of {count}")
            return values

    return Restricted(io.BytesIO(archive.read(tree))).load()


def _globals() -> tuple[type, dict[tuple[str, str], Callable[..., Any]]]:
    class Node:
        """A module: its attributes, never its code."""

        attributes: Any = None

        def __setstate__(self, state: Any) -> None:
            self.attributes = state

    def tensor(values: Tensor, offset: int, size: Any, stride: Any, *_rest: Any) -> Tensor:
        return values.as_strided(tuple(size), tuple(stride), offset)

    def same(value: Any, *_rest: Any) -> Any:
        return value

    known: dict[tuple[str, str], Callable[..., Any]] = {
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): same,
        ("collections", "OrderedDict"): OrderedDict,
        ("torch.jit._pickle", "restore_type_tag"): same,
    }
    for kind in ("intlist", "tensorlist", "doublelist", "boollist"):
        known["torch.jit._pickle", f"build_{kind}"] = same
    return Node, known


def _collect(value: Any, prefix: str, found: dict[str, Tensor]) -> None:
    if isinstance(value, Tensor):
        found[prefix] = value
        return
    attributes = getattr(value, "attributes", None)
    if isinstance(attributes, dict):
        for name, child in attributes.items():
            _collect(child, f"{prefix}.{name}" if prefix else str(name), found)
