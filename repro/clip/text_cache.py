"""Text features kept on disk, so that another process with the same weights does not encode the same names again."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from repro.clip.text import weights_state
from repro.errors import ResourceError
from repro.files import write_atomic

FORMAT = 1
"""Part of every key: raised when the way features are computed changes their numbers."""


def weights_digest(parameters: Sequence[Tensor]) -> str:
    """SHA-256 over shapes, types and bits of ``parameters``, on any device."""
    whole = hashlib.sha256()
    for parameter in parameters:
        whole.update(f"{tuple(parameter.shape)} {parameter.dtype}".encode())
        raw = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        whole.update(raw.numpy().data)
    return whole.hexdigest()


@dataclasses.dataclass
class TextStore:
    """Features (N, C) float32 in ``folder``, an npz a list of prompts, named by a hash of weights and prompts.

    The hash is over the bytes of all text parameters, the prompts (names in their template) in order, and ``extra``
    (what else decides the numbers, e.g. the precision). A file that cannot be read or written is as good as none.
    """

    folder: Path
    _state: Hashable = None
    _weights: str = ""

    def key(self, parameters: Sequence[nn.Parameter], texts: Sequence[str], extra: str = "") -> str:
        """The hash; that of the weights is taken again only when they have changed (0.3 s for ViT-B/16)."""
        state = weights_state(parameters)
        if state != self._state:
            self._state, self._weights = state, weights_digest(parameters)
        payload = json.dumps([FORMAT, self._weights, list(texts), extra])
        return hashlib.sha256(payload.encode()).hexdigest()[:32]

    def get(self, key: str) -> Tensor | None:
        """The features stored under ``key``, on the CPU, or None."""
        try:
            with np.load(self.folder / f"{key}.npz", allow_pickle=False) as stored:
                return torch.from_numpy(stored["features"])
        except Exception:  # noqa: BLE001  damage shows as errors of zlib, zipfile, tokenize ..: computed again
            return None

    def put(self, key: str, features: Tensor) -> None:
        """Store ``features``, atomically; does nothing where the disk is full or the folder cannot be written."""
        array = features.detach().cpu().numpy()
        # The features are there: to find them again would only be quicker.
        with contextlib.suppress(OSError, ResourceError):
            write_atomic(self.folder / f"{key}.npz", lambda stream: np.savez(stream, features=array))


def keep_text(module: nn.Module, folder: Path) -> None:
    """Let every CLIP tower within ``module`` keep its text features in ``folder``."""
    from repro.clip.tower import ClipTower

    for part in module.modules():
        if isinstance(part, ClipTower):
            part.text_store = TextStore(folder)
