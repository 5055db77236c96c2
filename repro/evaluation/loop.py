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

from repro.clock import StageClock, hardware_label
from repro.datasets.images import check_label, read_label, stored_image
from repro.datasets.protocol import Protocol, protocol_digest
from repro.errors import DataError, RunError, command
from repro.evaluation.infer import SlidingWindow
from repro.evaluation.result import STAGES, EvalResult, finished
from repro.files import write_json
from repro.methods.interface import Method
from repro.metrics.counts import Counts, CountsBuilder
from repro.metrics.measured import write_measure
from repro.metrics.miou import describe_counts

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


class EvaluationLoop:
    """The loop of :func:`repro.evaluation.evaluate.evaluate` with what it carries from image to image.

    Each image is shown to the ``measures`` too, whose partial results have files of their own: those without measures
    are of no use to a loop that measures.

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
    ) -> None:
        self.share = share
        self.method, self.benchmark, self.out_dir, self.device = method, benchmark, out_dir, device
        self.protocol, self.fingerprint, self.save_every = protocol, fingerprint, save_every
        self.window = SlidingWindow(protocol, view_batch=view_batch, batch_mib=batch_mib)
        self.clock = StageClock(device)
        self.measures, self.measuring = measures, 0.0
        self.partial = out_dir / ".".join(["counts", *(["-".join(m.name for m in measures)] if measures else []),
                                           "partial", "npz"])  # fmt: skip
        self.builder = CountsBuilder(benchmark.num_classes, benchmark.ignore_label, benchmark.background_index)
        self._counted_at = self._saved_at = 0.0

    def __call__(self, pairs: Sequence[Pair], progress: bool | None) -> EvalResult:
        self._restore(pairs)
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
            with self.clock("count"):
                self.builder.add(item.pair.key, prediction.astype(np.int64), item.label)
            begin = time.perf_counter()
            for measure in self.measures:
                measure.add(item.pair.key, prediction.astype(np.int64), item.label)
            self.measuring += time.perf_counter() - begin
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

    def _parts(self) -> list[tuple[Path, CountsBuilder]]:
        """Return the partial files of the measures and what is counted for them."""
        return [
            (self.partial.with_name(f"{part}.{self.partial.name.removeprefix('counts.')}"), builder)
            for measure in self.measures
            for part, builder in measure.builders.items()
        ]

    def _save_partial(self) -> None:
        for path, builder in self._parts():
            builder.build().save(path)
        self.builder.build().save(
            self.partial,
            fingerprint=np.array(self.fingerprint),
            seconds=np.array([self.clock.seconds.get(s, 0.0) for s in (*STAGES, "total")]),
        )

    def _restore(self, pairs: Sequence[Pair]) -> None:
        """Take over the partial counts of an interrupted evaluation of exactly the same thing; drop any other.

        Counts and measures must have stopped at the same image.
        """
        if not self.partial.is_file():
            return
        try:
            counts, extra = Counts.load_with(self.partial, "fingerprint", "seconds")
            parts = [(builder, Counts.load(path)) for path, builder in self._parts()]
        except (RunError, OSError):  # not written by this version: nothing to continue from
            self.partial.unlink()
            return
        if any(part.keys != counts.keys for _, part in parts):
            self.partial.unlink()
            return
        if str(extra["fingerprint"]) != self.fingerprint or counts.keys != tuple(p.key for p in pairs[: len(counts)]):
            self.partial.unlink()
            return
        self.builder.extend(counts)
        for builder, part in parts:
            builder.extend(part)
        for stage, seconds in zip((*STAGES, "total"), extra["seconds"], strict=False):
            self.clock.add(stage, float(seconds))

    def finish(self) -> EvalResult:
        """Write what was counted, unless it is there already, and the measures."""
        counts = self.builder.build()
        done = finished(self.out_dir, self.fingerprint)
        extra = {
            "seconds": round(self.measuring, 4),
            # False tells that this pass did not predict what the stored counts were made from (a GPU's freedom).
            "same_counts": done is None or _equal(done.counts(), counts),
        }
        for measure in self.measures:
            write_measure(self.out_dir, measure, self.fingerprint, extra)
        if done is None:
            done = self._write(counts)
        for path in [self.partial, *(path for path, _ in self._parts())]:
            path.unlink(missing_ok=True)
        return done

    def _write(self, counts: Counts) -> EvalResult:
        if not self.share and not counts.ground_truth.any():
            raise DataError(
                f"{self.benchmark.id}: no pixel of {len(counts)} images has a class: there is nothing to evaluate on",
                expected=self.benchmark.legal_labels(),
                found="ignored pixels only",
                mend=command("repro", "data", "verify", self.benchmark.id, "--data-root", "DIR"),
            )
        record = {
            "format": 1,
            "benchmark": self.benchmark.id,
            "protocol": dataclasses.asdict(self.protocol),
            "protocol_digest": protocol_digest(self.benchmark, self.protocol),
            "fingerprint": self.fingerprint,
            "num_images": len(counts),
            "num_classes": counts.num_classes,
            "hardware": hardware_label(self.device),
            "seconds": {stage: round(self.clock.seconds.get(stage, 0.0), 4) for stage in (*STAGES, "total")},
            **describe_counts(counts, tuple(self.benchmark.class_names())),
        }
        counts.save(self.out_dir / "counts.npz")
        write_json(self.out_dir / "metrics.json", record)
        return EvalResult(self.out_dir, record)


def _summary(result: EvalResult) -> str:
    """Say in one line where the time went; stages overlap, so that shares may add up to more than all of it."""
    seconds, images = result.record["seconds"], result.record["num_images"]
    total = max(seconds["total"], 1e-9)
    shares = ", ".join(f"{stage} {seconds[stage]:.1f} s ({seconds[stage] / total:.0%})" for stage in STAGES)
    return (
        f"eval {result.record['benchmark']}: {images} images in {total:.1f} s ({total / images:.3g} s each): {shares}"
    )


def _equal(a: Counts, b: Counts) -> bool:
    ours, theirs = a.arrays(), b.arrays()
    return all(np.array_equal(ours[name], theirs[name]) for name in ours)
