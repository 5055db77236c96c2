"""The loop over the images of an evaluation: read ahead, predict, count; resumable, and shown to measures as well."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from repro.datasets.images import check_label, read_label, stored_image
from repro.datasets.protocol import Protocol, protocol_digest
from repro.evaluation.counting import CountingLoop
from repro.evaluation.infer import SlidingWindow
from repro.evaluation.result import STAGES, EvalResult
from repro.evaluation.saved import SavedPredictions
from repro.methods.interface import Method

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.datasets.layout import Pair
    from repro.metrics.measure import Measure

_AHEAD = 2  # batches of images read ahead


@dataclasses.dataclass(frozen=True)
class _Item:
    """An image that was read: its pair, its own size, its pixels as the test pipeline resizes them, its label."""

    pair: Pair
    size: tuple[int, int]
    resized: NDArray[np.uint8]
    label: NDArray[Any]


class EvaluationLoop(CountingLoop):
    """The loop of :func:`repro.evaluation.evaluate.evaluate` with what it carries from image to image.

    Batches begin at multiples of their length in the list of all images, also in a resumed evaluation: the same images
    go through the method together, and its rounding, which may depend on its batch, is the same.
    """

    def __init__(
        self,
        method: Method,
        benchmark: Benchmark,
        protocol: Protocol,
        out_dir: Path,
        device: torch.device | str,
        fingerprint: str,
        view_batch: int,
        save_every: float,
        batch_mib: int = 0,
        measures: Sequence[Measure] = (),
        *,
        share: bool = False,
        saver: SavedPredictions | None = None,
    ) -> None:
        facts, digest = dataclasses.asdict(protocol), protocol_digest(benchmark, protocol)
        super().__init__(benchmark, facts, digest, out_dir, device, fingerprint, measures, share=share)
        self.method, self.save_every, self.saver = method, save_every, saver
        self.window = SlidingWindow(protocol, view_batch=view_batch, batch_mib=batch_mib)
        self._counted_at = self._saved_at = 0.0

    def __call__(self, pairs: Sequence[Pair], progress: bool | None) -> EvalResult:
        self._restore(pairs)
        if self.saver is not None and not self.saver.has(self.builder.keys):
            self._forget()  # those images were predicted without being saved
        classes = self.method.prompts(self.benchmark.prompt_names(), self.benchmark.background_index)
        step = self.window.images_at_once(len(classes), self.device)
        edges = [len(self.builder), *range(step * (len(self.builder) // step + 1), len(pairs), step), len(pairs)]
        batches = [pairs[a:b] for a, b in itertools.pairwise(edges) if a < b]  # none where all are counted
        self._counted_at = self._saved_at = time.monotonic()
        bar = tqdm(
            total=len(pairs),
            initial=len(self.builder),
            desc=f"eval {self.benchmark.id}",
            unit="image",
            disable=None if progress is None else not progress,
        )
        try:
            # Leaving the block waits for what is being counted, also when the method was interrupted.
            with bar, ThreadPoolExecutor(max_workers=1, thread_name_prefix="count") as pool:
                counted: Future[None] | None = None
                for items in self._read_ahead(batches):
                    logits = self.window.logits(self.method, [item.resized for item in items], classes, self.clock)
                    if counted is not None:
                        counted.result()  # one batch of logits waits, no more
                    counted = pool.submit(self._count, items, logits, bar)
                    del logits
                if counted is not None:
                    counted.result()
        except BaseException:  # also Ctrl-C: what was counted is kept, whatever ended the loop
            if len(self.builder):
                self._save_partial()
            raise
        result = self.finish()
        if progress is not False:
            tqdm.write(_summary(result), file=sys.stderr)
        return result

    def _count(self, items: Sequence[_Item], logits: list[Tensor], bar: tqdm[Any]) -> None:
        """Take arg-max and counts of a batch, in a thread of its own; free the logits one by one."""
        for item in items:
            with self.clock("resize"):
                prediction = self.window.labels(self.method, logits.pop(0), item.size)
            if self.saver is not None:
                self.saver.write(item.pair.key, prediction)
            self.add(item.pair.key, prediction, item.label)
            bar.update()
        now = time.monotonic()
        self.clock.add("total", now - self._counted_at)
        self._counted_at = now
        if now - self._saved_at >= self.save_every:
            self._save_partial()
            self._saved_at = now

    def _read_ahead(self, batches: Sequence[Sequence[Pair]]) -> Iterator[list[_Item]]:
        """Yield batches of images with their checked labels, read by one thread a little ahead of the method."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as pool:
            waiting: list[list[Future[_Item]]] = []
            try:
                for batch in batches:
                    waiting.append([pool.submit(self._read, pair) for pair in batch])
                    if len(waiting) > _AHEAD:
                        yield [future.result() for future in waiting.pop(0)]
                while waiting:
                    yield [future.result() for future in waiting.pop(0)]
            finally:
                for future in itertools.chain(*waiting):
                    future.cancel()

    def _read(self, pair: Pair) -> _Item:
        with self.clock("decode"):
            image, label = stored_image(pair.image), read_label(pair.label)
            check_label(label, self.benchmark, pair.label, image.shape[:2])
        with self.clock("resize"):
            return _Item(pair, (image.shape[0], image.shape[1]), self.window.resize(image), label)


def _summary(result: EvalResult) -> str:
    """Say in one line where the time went; stages overlap, so that shares may add up to more than all of it."""
    seconds, images = result.record["seconds"], result.record["num_images"]
    total = max(seconds["total"], 1e-9)
    shares = ", ".join(f"{stage} {seconds[stage]:.1f} s ({seconds[stage] / total:.0%})" for stage in STAGES)
    return (
        f"eval {result.record['benchmark']}: {images} images in {total:.1f} s ({total / images:.3g} s each): {shares}"
    )
