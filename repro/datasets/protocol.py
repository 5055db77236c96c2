"""How a benchmark is evaluated: one hashable description, stored with every number it leads to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt

from repro.values import Count

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Sliding-window evaluation as CAT-Seg published it (and DiSa and LoGoSeg use it); sizes in pixels.

    The image is resized so that its shorter side is ``short_side`` (longer at most ``max_long_side``), then to
    ``canvas`` x ``canvas``; ``window`` x ``window`` views are taken at stride int(window * (1 - overlap)), the last
    flush with the border, and, with ``whole_image``, the whole resized image brought to one window as well. Scores are
    averaged over the windows that cover a pixel, then with the whole-image view, resized to the image's own size; the
    arg-max is taken there.
    """

    short_side: Count = 640
    max_long_side: Count = 2560
    canvas: Count = 640
    window: Count = 384
    overlap: Annotated[float, Ge(0), Lt(1)] = 0.333
    whole_image: bool = True
    version: int = 1
    """Raised whenever the meaning of a protocol changes, so that old numbers are never mixed with new ones."""

    @property
    def stride(self) -> int:
        return int(self.window * (1 - self.overlap))

    @property
    def starts(self) -> tuple[int, ...]:
        """Return where windows begin along a side of the canvas; the last ends with it, also where strides do not."""
        last = self.canvas - self.window
        return (*range(0, last, max(1, self.stride)), last)

    @property
    def views(self) -> int:
        """Return how many views of one image go through a method."""
        return len(self.starts) ** 2 + self.whole_image

    def digest(self, *parts: object) -> str:
        """Return twelve hex digits over the protocol and ``parts`` (a benchmark's vocabulary, ignore label, fold)."""
        payload = json.dumps([dataclasses.asdict(self), *map(str, parts)], sort_keys=True)
        return hashlib.sha256(payload.encode()).hexdigest()[:12]


def protocol_digest(benchmark: Benchmark, protocol: Protocol) -> str:
    """Return the digest of all that decides what a number means: protocol, vocabularies, ignore label and fold."""
    return protocol.digest(
        benchmark.id,
        benchmark.class_names(),
        benchmark.prompt_names(),
        benchmark.ignore_label,
        benchmark.background_index,
    )
