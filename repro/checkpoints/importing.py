"""Bring a checkpoint of other code in: weights under our names beside a JSON that says what they are.

A method's checkpoint becomes ``weights.pth``, which evaluation takes without a training run. A CLIP model becomes a
folder as open_clip and ``TowerSpec`` take it: ``open_clip_config.json`` and ``open_clip_model.safetensors``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from torch import Tensor

import repro
from repro.checkpoints.clip import model_config
from repro.checkpoints.reading import read_foreign
from repro.checkpoints.recognise import Recognised, recognise
from repro.checkpoints.room import check_folder
from repro.clip.weights import check_finite
from repro.console import log
from repro.errors import UsageError
from repro.files import read_json, write_atomic, write_json
from repro.hashing import file_digest
from repro.methods.weights import FORMAT, save_torch
from repro.paths import DEFAULT_CHECKPOINTS

RECORD = "import.json"
METHOD_WEIGHTS = "weights.pth"
TOWER_WEIGHTS, TOWER_CONFIG = "open_clip_model.safetensors", "open_clip_config.json"


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an import gave, or would give: ``record`` is the content of ``import.json``."""

    folder: Path
    weights: Path
    record: dict[str, Any]
    written: bool

    def to_json(self) -> dict[str, Any]:
        """Return the record, and where the files are."""
        paths = {"folder": str(self.folder), "weights_file": str(self.weights), "written": self.written}
        return {**self.record, **paths}


def import_file(path: Path, wanted: str | None = None, out: Path | None = None, *, dry_run: bool = False) -> Imported:
    """Read, recognise (as ``wanted`` where given) and import the checkpoint ``path``, without ``out`` to ./checkpoints.

    Raises what :func:`import_checkpoint` does, and MisfitError for a file that is nothing known.
    """
    file = read_foreign(path)
    for change in file.changes:
        log(f"{file.path}: {change}")
    return import_checkpoint(recognise(file, wanted), out, DEFAULT_CHECKPOINTS, dry_run=dry_run)


def import_checkpoint(
    found: Recognised, folder: Path | None, parent: Path, *, dry_run: bool = False, option: str = "--out"
) -> Imported:
    """Write ``found`` into ``folder`` (default: one below ``parent`` named by variant and content).

    The same file imported there before is left as it is. Raises WeightsError for weights with NaN or infinity,
    UsageError where ``folder`` holds something else, ResourceError where it cannot be written: then ``option`` of the
    command names another.
    """
    record = describe_import(found)
    check_finite(found.file.path, {n: found.file.state[n] for n in found.layout.names})
    folder = folder or parent / f"{found.variant}-{record['source']['sha256'][:8]}"
    weights = folder / record["weights"]
    if dry_run:
        return Imported(folder, weights, record, False)
    if _already_there(folder, record):
        return Imported(folder, weights, record, False)
    state = our_state(found)
    check_folder(folder, sum(t.numel() * t.element_size() for t in state.values()), option)
    if "method" in record:
        header = {k: record[k] for k in ("method", "tower", "options", "variant", "source", "beside")}
        save_torch(weights, {"header": {**header, "format": FORMAT}, "state_dict": state})
    else:
        _write_tower(weights, state, found.variant)
    write_json(folder / RECORD, record)  # last: its presence means that the rest is complete
    return Imported(folder, weights, record, True)


def our_state(found: Recognised) -> dict[str, Tensor]:
    """Return the weights under our names, in float32, each with memory of its own."""
    state: dict[str, Tensor] = {}
    seen: set[int] = set()
    for theirs, ours in found.layout.names.items():
        tensor = found.file.state[theirs].reshape(found.layout.shapes[theirs])
        tensor = (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        storage = tensor.untyped_storage()
        # A view would be saved with all it is a view of, and two entries of one memory not at all.
        if storage.nbytes() != tensor.numel() * tensor.element_size() or storage.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        state[ours] = tensor
    return state


def describe_import(found: Recognised) -> dict[str, Any]:
    """Make the content of ``import.json``: what the file is, where it came from, what was changed and left out."""
    file, layout = found.file, found.layout
    kinds = Counter(str(file.state[n].dtype).removeprefix("torch.") for n in layout.names)
    facts = found.format.describe(found.variant)
    return {
        "format": 1,
        "variant": found.variant,
        "source_format": found.format.id,
        **facts,
        "weights": METHOD_WEIGHTS if "method" in facts else TOWER_WEIGHTS,
        "num_tensors": len(layout.names),
        "num_parameters": sum(file.state[n].numel() for n in layout.names),
        "source": {
            "file": file.path.name,
            "sha256": file_digest(file.path),
            "bytes": file.path.stat().st_size,
            "form": file.form,
        },
        "prefix_removed": file.prefix,
        "names_from": "huggingface" if file.huggingface else found.format.id,
        "converted_to_float32": {k: v for k, v in kinds.items() if k in _CONVERTED},
        "computed": sorted(n for n in file.state if n in layout.buffers),
        "left_out": sorted([*(n for n in file.state if found.format.ignored(n)), *file.left_out]),
        "beside": dict(file.beside),
        "program": f"repro {repro.__version__}",
    }


_CONVERTED = ("float16", "bfloat16", "float64")


def _already_there(folder: Path, record: dict[str, Any]) -> bool:
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is a file", expected="a folder, new or empty", mend="name another folder with --out"
        )
    if not any(folder.iterdir()):
        return False
    known = folder / RECORD
    if known.is_file():
        before = read_json(known)
        if before.get("source", {}).get("sha256") == record["source"]["sha256"] and all(
            before.get(k) == record[k] for k in ("variant", "weights", "format")
        ):
            return (folder / record["weights"]).is_file()
    raise UsageError(
        f"{folder} already holds something else",
        expected="a folder that is new, empty, or holds this import",
        found=", ".join(sorted(p.name for p in folder.iterdir())[:5]),
        mend="name another folder with --out",
    )


def _write_tower(path: Path, state: dict[str, Tensor], model: str) -> None:
    from safetensors.torch import save_file

    # safetensors writes to a path only: into the temporary file that is then renamed.
    write_atomic(path, lambda stream: save_file(state, stream.name, {"format": "pt"}))
    import open_clip

    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    write_json(path.parent / TOWER_CONFIG, {"model_cfg": model_config(model), "preprocess_cfg": preprocess})
