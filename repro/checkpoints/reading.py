"""Files of other programs as tensors by name: never executed, told apart by content, taken out of their wrappers."""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repro.checkpoints.official import Shape
from repro.clip.weights.state_names import from_huggingface, has_huggingface_names, without_common_prefix
from repro.clip.weights.torchscript import is_torchscript, read_torchscript
from repro.errors import WeightsError, command
from repro.pickles import plain_copy, refused_class, what_is_refused

# Where training programs keep the state dict: detectron2, open_clip (also CLIPSelf and DenseVLM), DeepSpeed.
_WRAPPERS = ("model", "state_dict", "module")
_DAMAGED = (pickle.UnpicklingError, EOFError, RuntimeError, OSError, ValueError, LookupError, TypeError, AttributeError)


@dataclasses.dataclass(frozen=True)
class ForeignFile:
    """What a file holds.

    ``state`` are its tensors under their own names, in their own precision; a ``prefix`` of wrappers that all names
    shared is taken off, and Hugging Face's layout of CLIP is turned into open_clip's (``huggingface``). ``form`` says
    how it was stored, ``beside`` are plain facts kept with the weights, ``left_out`` names what else was there.
    """

    path: Path
    form: str
    state: Mapping[str, Tensor]
    beside: Mapping[str, int | float | str | bool]
    left_out: tuple[str, ...]
    prefix: str = ""
    huggingface: bool = False

    @property
    def changes(self) -> list[str]:
        """What was done to the names, in words."""
        said = [f"took {self.prefix!r} off all names"] if self.prefix else []
        return said + (["turned Hugging Face's names and layout of CLIP into open_clip's"] if self.huggingface else [])

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: tuple(tensor.shape) for name, tensor in self.state.items()}

    @property
    def from_torchscript(self) -> bool:
        return self.form == TORCHSCRIPT


TORCH, TORCHSCRIPT, SAFETENSORS = "torch file", "TorchScript archive", "safetensors file"


def read_foreign(path: Path) -> ForeignFile:
    """Return the tensors of ``path`` on the CPU (memory-mapped where the form allows).

    Raises WeightsError for an absent file, a folder, a web page, a truncated file, a pickle that holds more than
    tensors, numpy values and plain values, and for a file of this program (which needs no import).
    """
    form, value = _read(path)
    if isinstance(value, Mapping) and ({"header", "state_dict"} <= value.keys() or "fingerprint" in value):
        header = value.get("header")
        method = header.get("method", "METHOD") if isinstance(header, Mapping) else "METHOD"
        raise WeightsError(
            f"{path} was written by this program and needs no import",
            expected="a checkpoint of other code",
            found=f"weights of {method}" if "header" in value else "an unfinished training",
            mend=f"{command('repro', 'eval', method, '--checkpoint', path)}, or "
            + command("repro", "export-checkpoint", path, "--out", "FILE")
            if "header" in value
            else "give the command of that training again: it resumes and writes weights.pth at its end",
        )
    inner, outer = _unwrap(value)
    tensors, other = _tensors(inner)
    if not tensors:
        raise WeightsError(
            f"{path} holds no tensors by name",
            expected=f"a state dict, alone or below {', '.join(_WRAPPERS)}",
            found=_describe(value),
            mend="see docs/checkpoints.md for the files that can be imported",
        )
    beside = {k: _plain(v) for k, v in {**other, **outer}.items()}
    prefix, state = without_common_prefix(tensors)
    huggingface = has_huggingface_names(state)
    return ForeignFile(
        path,
        form,
        from_huggingface(state) if huggingface else state,
        {k: v for k, v in beside.items() if v is not None},
        tuple(sorted(k for k, v in beside.items() if v is None)),
        prefix,
        huggingface,
    )


def _read(path: Path) -> tuple[str, Any]:
    try:
        if path.is_dir():
            files = sorted(p.name for p in path.iterdir() if p.suffix in (".pth", ".pt", ".bin", ".safetensors"))
            raise WeightsError(
                f"{path} is a folder", expected="one checkpoint file", found=", ".join(files) or "no checkpoint in it",
                mend=command("repro", "import-checkpoint", path / (files[0] if files else "FILE")),
            )  # fmt: skip
        if path.exists() and not path.is_file():
            raise _unreadable(path, "a pipe or device")
        with path.open("rb") as stream:
            head = stream.read(512)
    except FileNotFoundError as error:
        raise WeightsError(f"no file {path}", mend="docs/checkpoints.md says where checkpoints come from") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    _refuse_text(path, head)
    try:
        if len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
            from safetensors.torch import load_file

            return SAFETENSORS, load_file(path)
        zipped = zipfile.is_zipfile(path)
        if zipped and is_torchscript(path):
            return TORCHSCRIPT, read_torchscript(path)
        with torch.serialization.safe_globals(allowed_globals()):
            # Only the newer, zipped form can be mapped; the optimizer, twice the weights, is then never read.
            return TORCH, torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipped or None)
    except _DAMAGED as error:
        if name := refused_class(error):
            raise WeightsError(
                f"{path} holds more than tensors",
                expected="a file of tensors, numpy values and plain values",
                found=what_is_refused(name),
                mend=plain_copy(path),
            ) from error
        raise _unreadable(path, str(error).strip().split("\n")[0][:200] or type(error).__name__) from error
    except Exception as error:
        if type(error).__name__ == "SafetensorError":
            raise _unreadable(path, str(error)) from error
        raise


def allowed_globals() -> list[Any]:
    """Return what detectron2 files hold besides tensors: numpy scalars and arrays (schedules, meters), under both
    spellings of numpy's module. None of these runs code of the file.
    """
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    listed: list[Any] = [np.ndarray, np.dtype]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        listed += [(multiarray.scalar, f"{module}.scalar"), (multiarray._reconstruct, f"{module}._reconstruct")]
    listed += [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")]
    return listed


def _refuse_text(path: Path, head: bytes) -> None:
    """Refuse text and say what came in place of the file: downloads often give something else."""
    text = head.lstrip()[:64].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        found = "a web page (HTML): the link leads to a page about the file, or asks to log in"
    elif text.startswith(b"version https://git-lfs"):
        found = "a Git LFS pointer: the repository was cloned without its large files"
    elif not head:
        found = "an empty file"
    else:
        return
    raise WeightsError(
        f"{path} is not a checkpoint", expected="tensors", found=found,
        mend="download the file itself (on the Hugging Face hub: the link with /resolve/ in it)",
    )  # fmt: skip


def _unreadable(path: Path, found: str) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read as a checkpoint",
        expected="a complete torch, TorchScript or safetensors file of tensors and plain values",
        found=found,
        mend="compare its size and SHA-256 with the official page's and fetch it again",
    )


def _unwrap(value: Any) -> tuple[Any, dict[str, Any]]:
    """Return the innermost state dict, and what lay beside it on the way."""
    outer: dict[str, Any] = {}
    while isinstance(value, Mapping):
        key = next((k for k in _WRAPPERS if isinstance(value.get(k), Mapping)), None)
        if key is None:
            break
        outer.update({str(k): v for k, v in value.items() if k != key})
        value = value[key]
    return value, outer


def _tensors(value: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    other: dict[str, Any] = {}
    for name, entry in value.items() if isinstance(value, Mapping) else ():
        if isinstance(entry, np.ndarray):
            entry = torch.from_numpy(entry)
        if isinstance(entry, Tensor):
            tensors[str(name)] = entry.detach()
        else:
            other[str(name)] = entry
    return tensors, other


def _plain(value: Any) -> int | float | str | bool | None:
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, (bool, int, float, str)) else None


def _describe(value: Any) -> str:
    if not isinstance(value, Mapping):
        return type(value).__name__
    names = sorted(map(str, value))
    return f"{type(value).__name__} with {', '.join(names[:8]) or 'nothing'}" + (" .." if len(names) > 8 else "")
