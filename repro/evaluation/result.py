"""What an evaluation leaves: its record and counts, and by what they are known again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from repro.datasets.protocol import Protocol, protocol_digest
from repro.methods.interface import Method
from repro.metrics.counts import Counts
from repro.metrics.miou import METRICS

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.datasets.layout import Pair

STAGES = ("decode", "resize", "forward", "count")
"""Where the seconds of an evaluation go: reading files; resizing images, and logits to maps and their arg-max; the
method; counting. Three threads work at once (read ahead, the method, what follows it), so that the stages' sum is
more than ``total``, the seconds of the whole loop."""


@dataclasses.dataclass(frozen=True)
class EvalResult:
    """A finished evaluation: what ``metrics.json`` holds, and where."""

    folder: Path
    record: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float | None]:
        """``miou_gt``, ``miou_union``, ``fwiou``, ``macc``, ``pacc`` as fractions; None where undefined."""
        return {name: self.record[name] for name in METRICS}

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """One entry per class: name, iou, accuracy, and the pixel counts."""
        rows: list[dict[str, Any]] = self.record["per_class"]
        return rows

    def counts(self) -> Counts:
        """Return the per-image counts."""
        return Counts.load(self.folder / "counts.npz")


def finished(out_dir: Path, fingerprint: str) -> EvalResult | None:
    """Return the evaluation in ``out_dir`` if it is complete and of the same thing."""
    path = out_dir / "metrics.json"
    if not path.is_file() or not (out_dir / "counts.npz").is_file():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("fingerprint") != fingerprint:
        return None
    return EvalResult(out_dir, record)


def fingerprint(method: Method, benchmark: Benchmark, pairs: Sequence[Pair], protocol: Protocol, data: str = "") -> str:
    """Return sixteen hex digits over weights, protocol, vocabulary, image keys and ``data``; 1 s for 433 M parameters.

    ``data`` identifies the content of the images and labels; "" where nothing but a recipe makes them.
    """
    digest = hashlib.sha256(protocol_digest(benchmark, protocol).encode())
    digest.update(type(method).__qualname__.encode())
    for name, tensor in method.state_dict().items():
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {tuple(tensor.shape)} {zlib.crc32(raw)}\n".encode())
    digest.update("\n".join(p.key for p in pairs).encode())
    digest.update(f"\n\n{data}".encode() if data else b"")
    return digest.hexdigest()[:16]
