"""Finds, identifies and reads CLIP weights. Nothing is downloaded: what is absent is named with the command for it."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import sys
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.clip.names import BUILT_IN, HUB_FILES, TAGS, TagSource, uses_quick_gelu
from repro.clip.spec import TowerSpec
from repro.errors import WeightsError, command
from repro.hashing import file_digest
from repro.pickles import plain_copy, refused_class, what_is_refused

if TYPE_CHECKING:
    from torch import Tensor

CONFIG_FILE = "open_clip_config.json"
_DAMAGED = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)
FILE_ENDINGS = (".pt", ".pth", ".bin", ".safetensors")


def model_folder(model: str) -> Path | None:
    """Return the folder ``model`` stands for, or None where it is an open_clip name.

    Raises WeightsError for a folder without ``open_clip_config.json`` and for a path that does not exist.
    """
    folder = Path(model)
    looks_like_path = os.sep in model or folder.is_dir()
    if not looks_like_path or model in BUILT_IN:
        return None
    if not (folder / CONFIG_FILE).is_file():
        raise WeightsError(
            f"{model} is not a CLIP model folder",
            expected=f"a folder with {CONFIG_FILE}",
            found="no such folder" if not folder.is_dir() else f"no {CONFIG_FILE} in it",
            mend="repro run table1 trains the miniature's tower; else name an open_clip model",
        )
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """Read the content of ``open_clip_config.json``; WeightsError where it is not one."""
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} is not valid JSON", expected="open_clip's format", found=str(error)) from error
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(config.get("model_cfg", {})):
        raise WeightsError(
            f"{path} does not describe a CLIP model", expected="model_cfg with embed_dim, vision_cfg and text_cfg"
        )
    return config


def find_weights(spec: TowerSpec) -> Path | None:
    """Find the file that holds the weights of ``spec``; None for random weights.

    Raises WeightsError where the file or the cached download of a tag is absent (with the command that fetches it),
    where the tag does not exist, and where the weights are known to be trained with QuickGELU but the model uses GELU
    or the other way round (a file of tensors elsewhere than in the hub's cache does not tell).
    """
    if spec.weights is None:
        return None
    folder = model_folder(spec.model)
    for candidate in (Path(spec.weights).expanduser(), *([folder / spec.weights] if folder else [])):
        if candidate.is_file():
            published = None if folder else _published(candidate)
            if published is not None and published.quick_gelu != uses_quick_gelu(spec.model):
                raise quick_gelu_error(spec.model, spec.weights, published.quick_gelu)
            return candidate
    source = None if folder else tag_source(spec.model, spec.weights)
    if source is None:
        raise WeightsError(
            f"no weights {spec.weights!r} for model {spec.model}",
            expected="an open_clip tag of that model, an existing file, or None for random weights",
            found=spec.weights,
            mend="this lists all models and tags: "
            + command("python", "-c", "import open_clip; print(open_clip.list_pretrained())"),
        )
    if source.quick_gelu != uses_quick_gelu(spec.model):
        raise quick_gelu_error(spec.model, spec.weights, source.quick_gelu)
    path = cached_file(source)
    if path is None:
        raise WeightsError(
            f"the weights {spec.weights!r} of {spec.model} are not on this machine",
            expected=f"{source.hub or source.file} in the Hugging Face cache, or {_clip_cache() / source.file}",
            found="neither",
            mend=download_command(spec, source),
        )
    return path


def quick_gelu_error(model: str, weights: str, trained_with: bool) -> WeightsError:
    """Return the error for weights whose activation is not the model's: the result would be silently wrong."""
    right = f"{model}-quickgelu" if trained_with else model.removesuffix("-quickgelu")
    theirs, ours = ("QuickGELU", "GELU") if trained_with else ("GELU", "QuickGELU")
    return WeightsError(
        f"the weights {weights} were trained with {theirs}, the model {model} uses {ours}",
        expected=right,
        found=model,
        mend=f"name the model {right}",
    )


def download_command(spec: TowerSpec, source: TagSource) -> str:
    """Return the shell command that puts the weights into the cache where :func:`find_weights` looks for them."""
    if not source.hub:
        return f"put the file {shlex.quote(source.file)} into {shlex.quote(str(_clip_cache()))}"
    return command("repro", "weights", f"{spec.model}/{spec.weights}")


def weights_digest(spec: TowerSpec) -> str:
    """Return what identifies the weights of ``spec``: the SHA-256 of their file, or ``random-<seed>`` if drawn.

    Reads no tensor and needs no torch. Raises WeightsError as :func:`find_weights` does.
    """
    path = find_weights(spec)
    if path is None:
        return f"random-{spec.seed}"
    target = path.resolve()
    if target.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", target.name):
        return target.name  # the hub's cache names large files by their SHA-256
    state = target.stat()
    return _file_sha256(target, (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino))


@lru_cache(maxsize=32)
def _file_sha256(path: Path, stamp: tuple[int, ...]) -> str:
    return file_digest(path)


def tag_source(model: str, tag: str) -> TagSource | None:
    """Return where the weights ``tag`` of ``model`` come from; None where open_clip knows no such tag."""
    if (model, tag) in TAGS:
        return TAGS[model, tag]
    if model in BUILT_IN or tag.endswith(FILE_ENDINGS):  # a file that is not there, which open_clip has no tag for
        return None
    from repro.runtime import import_torchvision

    import_torchvision()
    from open_clip import get_pretrained_cfg

    config = get_pretrained_cfg(model, tag)
    if not config:
        return None
    file = Path(config.get("url") or "").name
    return TagSource(str(config.get("hf_hub") or "").rstrip("/"), file, bool(config.get("quick_gelu", False)))


def _published(path: Path) -> TagSource | None:
    """Return what a file in the hub's cache holds; None for a file elsewhere, of which only its user knows."""
    for source in TAGS.values():
        if source.hub and f"models--{source.hub.replace('/', '--')}" in path.parts:
            return source
    return None


def _clip_cache() -> Path:
    return Path("~/.cache/clip").expanduser()


def cached_file(source: TagSource) -> Path | None:
    """Return the weights of ``source`` where they lie in one of the two caches."""
    if source.hub:
        from huggingface_hub import try_to_load_from_cache

        for name in HUB_FILES:
            found = try_to_load_from_cache(source.hub, name)
            if isinstance(found, str):
                return Path(found)
    local = _clip_cache() / source.file
    return local if source.file and local.is_file() else None


def load_state(path: Path) -> dict[str, Tensor]:
    """Load the tensors of a weights file (state dict, checkpoint, safetensors, TorchScript) on the CPU.

    No Python object is unpickled. Raises WeightsError for a truncated file and for one that holds something else.
    """
    import torch
    from safetensors import SafetensorError

    from repro.clip.weights.state_names import without_common_prefix
    from repro.clip.weights.torchscript import is_torchscript, read_torchscript

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        if is_torchscript(path):
            state: Any = read_torchscript(path)  # torch.jit.load would run code of the archive
            for name in ("input_resolution", "context_length", "vocab_size"):
                state.pop(name, None)
            return dict(state)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*_DAMAGED, SafetensorError) as error:
        raise _unreadable(path, error) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict", expected="tensors by name", found=type(state).__name__)
    prefix, state = without_common_prefix({str(name): tensor for name, tensor in state.items()})
    if prefix:
        print(f"{path}: took {prefix!r} off all names", file=sys.stderr, flush=True)
    check_finite(path, {n: t for n, t in state.items() if not n.endswith("attn_mask")})
    return state


def check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raise WeightsError with the first tensor of ``path`` that holds NaN or infinity in float32, as it is used."""
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            continue
        wrong = tensor.numel() - int(tensor.float().isfinite().sum())
        if wrong:
            raise WeightsError(
                f"{path} holds NaN or infinity in {name}",
                expected="finite weights (in float32)",
                found=f"{wrong} of its {tensor.numel()} values",
                mend="take an earlier checkpoint of that training: its weights diverged",
            )


def _unreadable(path: Path, error: BaseException) -> WeightsError:
    if name := refused_class(error):
        return WeightsError(
            f"{path} cannot be read as weights: it holds more than tensors",
            expected="a state dict, a safetensors file or a TorchScript archive",
            found=what_is_refused(name),
            mend=plain_copy(path, imports=False),
        )
    return WeightsError(
        f"{path} cannot be read as weights",
        expected="a state dict, a safetensors file or a TorchScript archive",
        found=str(error).strip().split("\n")[0][:200] or type(error).__name__,
        mend="compare its size and SHA-256 with those of its source: it was cut off, or is of another kind",
    )
