"""Towers that come with the package: files in ``weights/`` that spare a training of the same recipe.

Each is a safetensors file whose metadata say which training it took (``replaces``, the name of its :class:`Making`),
what that training recorded, and a digest of its content, by which runs know it. Rows of the token embedding that no
caption of the training reads are not kept: they were random and stayed so, and are drawn from a seed of this module.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.clip.weights import CONFIG_FILE
from repro.errors import WeightsError
from repro.files import write_atomic, write_json
from repro.hashing import digest
from repro.towers.kind import WEIGHTS, Making
from repro.traces.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

    from repro.sources.trace import Trace

FOLDER = Path(__file__).with_name("weights")
SUFFIX = ".safetensors"
EMBEDDING, ROWS = "token_embedding.weight", "token_embedding.rows"
_SEED, _DEVIATION = 20_261_129, 0.02  # open_clip draws the embedding with this deviation
MEND = "install the package again"


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A shipped tower: its file, the training it replaces, a digest of its tensors, and what the training recorded.

    ``done`` is the name of the file that holds ``record`` in the folder of a tower that was made here.
    """

    path: Path
    replaces: str
    content: str
    done: str
    config: Mapping[str, Any]
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the file without its suffix."""
        return self.path.stem

    def making(self) -> Making:
        """Return how it is put where towers that are made here lie."""

        def take() -> Trace:
            return {"content": [float(int(self.content[:12], 16))]}

        return Making(
            name=f"{self.name}-{self.content}",
            done=self.done,
            subject=Subject(f"unpacking {self.name}", ("repro.towers.shipped:unpack",), [self.content], take),
            cost="unpack_s",
            space_mib=60,
            like=lambda record: False,
        )


def in_place_of(making: Making) -> Shipped | None:
    """Return the shipped tower that spares ``making``; None where there is none."""
    return shipped_towers().get(making.name)


@cache
def shipped_towers() -> dict[str, Shipped]:
    """Return all shipped towers by the training they replace."""
    return {found.replaces: found for found in map(read, sorted(FOLDER.glob(f"*{SUFFIX}")))}


def read(path: Path) -> Shipped:
    """Read what a file of :func:`pack` says of itself, without its tensors. Raises WeightsError for anything else."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            facts = json.loads(stream.read(length))["__metadata__"]
        config, record = json.loads(facts["config"]), json.loads(facts["record"])
        return Shipped(path, facts["replaces"], facts["content"], facts["done"], config, record)
    except (OSError, struct.error, ValueError, KeyError, TypeError, MemoryError) as error:
        raise WeightsError(f"{path} is not a shipped tower", found=repr(error), mend=MEND) from error


def pack(state: Mapping[str, Tensor], rows: Sequence[int], facts: Mapping[str, Any], target: Path) -> Shipped:
    """Write weights under the names of open_clip to ``target`` and return what was written.

    ``rows`` are the token ids whose embedding is kept. ``facts``: ``replaces``, ``done``, ``config``, ``record``.
    """
    import torch
    from safetensors.torch import save

    kept = torch.tensor(sorted(set(rows)))
    tensors = {name: value.contiguous() for name, value in state.items()}
    tensors[EMBEDDING], tensors[ROWS] = tensors[EMBEDDING][kept].contiguous(), kept.int()
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    whole = save(tensors, {**texts, "content": content_of(tensors)})
    write_atomic(target, lambda stream: stream.write(whole))
    return read(target)


def unpack(shipped: Shipped, folder: Path) -> None:
    """Write open_clip's configuration and weights, and last what the training recorded, into ``folder``.

    Raises WeightsError where the file is damaged.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(shipped.path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{shipped.path} cannot be read", found=str(error), mend=MEND) from error
    if (found := content_of(tensors)) != shipped.content:
        raise WeightsError(f"{shipped.path} is damaged", expected=shipped.content, found=found, mend=MEND)
    rows, known = tensors.pop(ROWS).long(), tensors[EMBEDDING]
    tensors[EMBEDDING] = _drawn(shipped.config["model_cfg"]["text_cfg"]["vocab_size"], known.shape[1])
    tensors[EMBEDDING][rows] = known
    write_json(folder / CONFIG_FILE, dict(shipped.config))
    write_atomic(folder / WEIGHTS, lambda stream: torch.save(tensors, stream))
    write_json(folder / shipped.done, dict(shipped.record))


def content_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of names, shapes and bits of ``tensors``, which lie on the CPU."""
    hashes = {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in tensors.items()}
    return digest([[name, list(tensors[name].shape), hashes[name]] for name in sorted(hashes)])


def _drawn(rows: int, width: int) -> Tensor:
    """Draw an embedding (rows, width) of words that were never read: the same on every machine."""
    import numpy as np
    import torch

    drawn = np.random.default_rng(_SEED).standard_normal((rows, width), np.float32)
    return torch.from_numpy(drawn * np.float32(_DEVIATION))
