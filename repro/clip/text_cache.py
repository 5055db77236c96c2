"""Text features kept on disk, so that another process with the same weights does not encode the same names again.

A file says by which source (:mod:`repro.sources`) it was made. Where that is another one, a few of its prompts are
encoded again with the weights at hand: features that are still the same are used, others are made anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from repro.clip.text import weights_state
from repro.errors import ResourceError
from repro.files import write_atomic
from repro.sources import sources

FORMAT = 2
"""Part of every key: raised when files get another form."""
ROOTS = ("repro.clip.text:encode_tokens", "repro.clip.tower:build_tower")
SAME = 1e-4
"""Features of unit length that differ by less are the same: float32 on one kind of device."""
Encode = Callable[[list[str]], Tensor]


def weights_digest(parameters: Sequence[Tensor]) -> str:
    """Return SHA-256 over shapes, types and bits of ``parameters``, on any device."""
    whole = hashlib.sha256()
    for parameter in parameters:
        whole.update(f"{tuple(parameter.shape)} {parameter.dtype}".encode())
        raw = parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        whole.update(raw.numpy().data)
    return whole.hexdigest()


@dataclasses.dataclass
class TextStore:
    """Features (N, C) float32 in ``folder``, one npz per list of prompts, named by a hash of weights and prompts.

    The hash is over the bytes of all text parameters, the prompts (names in their template) in order, and ``extra``
    (what else decides the numbers, e.g. the precision). A file that cannot be read or written is as good as none.
    """

    folder: Path
    roots: tuple[str, ...] = ROOTS
    """Where the code begins that computes the features."""
    _state: Hashable = None
    _weights: str = ""

    def key(self, parameters: Sequence[nn.Parameter], texts: Sequence[str], extra: str = "") -> str:
        """Return the hash; that of the weights is taken again only when they have changed (0.3 s for ViT-B/16)."""
        state = weights_state(parameters)
        if state != self._state:
            self._state, self._weights = state, weights_digest(parameters)
        payload = json.dumps([FORMAT, self._weights, list(texts), extra])
        return hashlib.sha256(payload.encode()).hexdigest()[:32]

    def source(self) -> str:
        """Return the digest of the code that computes the features."""
        return sources().source(self.roots).digest

    def get(self, key: str, texts: Sequence[str], encode: Encode) -> Tensor | None:
        """Return the features of ``texts`` stored under ``key``, on the CPU, or None.

        What other code made is compared with the first, the middle and the last text encoded now.
        """
        try:
            with np.load(self.folder / f"{key}.npz", allow_pickle=False) as stored:
                features, made_by = torch.from_numpy(stored["features"]), str(stored["source"])
        except Exception:  # noqa: BLE001  damage shows as errors of zlib, zipfile, tokenize ..: computed again
            return None
        if made_by == self.source():
            return features
        places = sorted({0, len(texts) // 2, len(texts) - 1})
        now = encode([texts[i] for i in places]).detach().float().cpu()
        if now.shape != features[places].shape or not bool((now - features[places]).abs().max() < SAME):
            return None
        self.put(key, features)
        return features

    def put(self, key: str, features: Tensor) -> None:
        """Store ``features``, atomically; does nothing where the disk is full or the folder cannot be written."""
        array = features.detach().cpu().numpy()
        made_by = np.array(self.source())
        # The features are computed; storing them would only save time later.
        with contextlib.suppress(OSError, ResourceError):
            write_atomic(self.folder / f"{key}.npz", lambda stream: np.savez(stream, features=array, source=made_by))
