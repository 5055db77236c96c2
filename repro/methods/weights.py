"""Weights files: a plain state dict under a small header, read without unpickling anything but tensors."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from repro.errors import WeightsError, command
from repro.files import write_atomic
from repro.hashing import plain
from repro.mends import make_again
from repro.methods.interface import Method
from repro.pickles import plain_copy, refused_class, what_is_refused

FORMAT = 1
# What the restricted unpickler raises on bytes that were cut off or never were a checkpoint.
_DAMAGED = (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError)
_SHOWN = 8  # names of a long list that an error message prints


def save_weights(method: Method, path: Path, method_name: str, **header: str | int | float) -> None:
    """Write all tensors of ``method`` to ``path`` atomically; ``header`` values go beside ``method`` and ``format``.

    The method's switches (:meth:`repro.methods.interface.Method.switches`) are stored as JSON.
    """
    state = {name: tensor.detach().cpu() for name, tensor in method.state_dict().items()}
    own = {"method": method_name, "format": FORMAT, "switches": json.dumps(method.switches(), sort_keys=True)}
    save_torch(path, {"header": {**own, **header}, "state_dict": state})


def read_header(path: Path) -> dict[str, Any]:
    """Read the header of a weights file; WeightsError when ``path`` is not one."""
    header: dict[str, Any] = read_weights(path)["header"]
    return header


def load_weights(method: Method, path: Path, method_name: str) -> dict[str, Any]:
    """Fill ``method`` from ``path`` and return the file's header.

    Raises WeightsError for an absent or corrupt file, for weights of another method than ``method_name``, and for
    switches, names or shapes that do not fit (listed); ``method`` is unchanged then.
    """
    stored = read_weights(path)
    state, header = stored["state_dict"], stored["header"]
    misfit = describe_misfit(method.state_dict(), state)
    if header.get("method") != method_name:
        raise WeightsError(
            f"{path} holds weights of another method" + (f"\n{misfit}" if misfit else ""),
            expected=f"weights of {method_name}",
            found=f"weights of {header.get('method')}",
            mend=f"name the method {header.get('method')}, or train anew: {command('repro', 'train', method_name)}",
        )
    switched = describe_switches(method.switches(), json.loads(header.get("switches", "{}")))
    if switched:
        raise WeightsError(
            f"{path} was trained with other options of {method_name}" + (f"\n{misfit}" if misfit else ""),
            expected="; ".join(f"{name} = {own!r}" for name, own, _ in switched),
            found="; ".join(f"{name} = {other!r}" for name, _, other in switched),
            mend=f"give the options of these weights, or train anew: {command('repro', 'train', method_name)}",
        )
    if misfit:
        raise WeightsError(
            f"{path} does not fit this {method_name}",
            expected="the names and shapes of this model (same CLIP, same options)",
            found=misfit,
            mend=f"give the options of these weights, or train anew: {command('repro', 'train', method_name)}",
        )
    method.load_state_dict(state)
    return dict(header)


def describe_switches(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (option, expected, found) of every switch that both name and that differs, compared as JSON."""
    own = plain(dict(expected))
    return [(name, own[name], found[name]) for name in sorted(own.keys() & found.keys()) if own[name] != found[name]]


def describe_misfit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Describe missing names, unexpected names and other shapes of ``found``, in words; empty when it fits."""
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if found[name].shape != expected[name].shape
    ]
    lists = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": shapes,
    }
    return "; ".join(f"{len(names)} {kind}: {_shorten(names)}" for kind, names in lists.items() if names)


def save_torch(path: Path, value: Any) -> None:
    """Save by ``torch.save``, atomically, and report a full disk as ResourceError."""

    def write(stream: IO[bytes]) -> None:
        try:
            torch.save(value, stream)
        except RuntimeError as error:
            # The archive writer reports a failed write in its own words, with the OSError as its context at best.
            cause = error.__cause__ or error.__context__
            if isinstance(cause, OSError):
                raise cause from error
            raise

    write_atomic(path, write)


def read_torch(path: Path, *, own: bool = False) -> Any:
    """Load tensors and plain values only by ``torch.load``, on the CPU; WeightsError for anything else.

    The file is mapped, so that what is not used is not read; it is never written in place, only replaced. One of our
    ``own`` that asks for more than tensors is damaged, not foreign.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("a folder, pipe or device")
        mapped = zipfile.is_zipfile(path)
        return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped or None)
    except FileNotFoundError as error:
        mend = f"name a file that is there, or train first: {command('repro', 'train', 'METHOD')}"
        raise WeightsError(f"no weights at {path}", mend=mend) from error
    except _DAMAGED as error:
        name = refused_class(error)
        raise WeightsError(
            f"{path} cannot be read as weights" + (": it holds more than tensors" if name else ""),
            expected="a file written by repro train (tensors only, complete)",
            found=what_is_refused(name) if name else _reason(error),
            mend=plain_copy(path) if name and not own else make_again(path),
        ) from error


def _reason(error: Exception) -> str:
    """Say why a file cannot be read; torch's own words for what is not a pickle at all advise executing it."""
    if isinstance(error, pickle.UnpicklingError):
        return "something else, or a part of such a file"
    return (str(error) or type(error).__name__).splitlines()[0]


def read_weights(path: Path) -> dict[str, Any]:
    """Read ``header`` and ``state_dict`` of a weights file of this program; WeightsError when ``path`` is not one."""
    stored = read_torch(path)
    if not isinstance(stored, dict) or not {"header", "state_dict"} <= stored.keys():
        raise WeightsError(
            f"{path} is not a weights file of repro",
            expected="a header and a state dict",
            found=f"{type(stored).__name__} with {_shorten(sorted(map(str, stored)))}"
            if isinstance(stored, dict)
            else type(stored).__name__,
            mend=command("repro", "import-checkpoint", path),
        )
    header, state = stored["header"], stored["state_dict"]
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else type(header).__name__
        raise WeightsError(f"{path} has another format", expected=FORMAT, found=found, mend=make_again(path, "weights"))
    try:
        whole = isinstance(state, dict) and all(isinstance(t, Tensor) for t in state.values())
        whole = whole and isinstance(json.loads(header.get("switches", "{}")), dict)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise WeightsError(
            f"{path} is damaged",
            expected="tensors by name, and switches as JSON",
            found=f"{type(state).__name__}, {header.get('switches', '')!r}"[:80],
            mend=make_again(path),
        )
    return stored


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
