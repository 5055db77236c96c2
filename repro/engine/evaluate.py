"""Evaluation of one method on one benchmark: the only code path, during training and at the end.

Writes ``counts.npz`` (per-image integer counts, :mod:`repro.metrics.counts`) and then ``metrics.json``, whose
presence means "done". Until then ``counts.partial.npz`` is renewed every half minute, and a killed evaluation goes on
from there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from repro.benchmarks.images import check_label, read_image, read_label
from repro.benchmarks.protocol import Protocol, protocol_digest
from repro.engine.clock import StageClock, hardware_label
from repro.engine.infer import SlidingWindow
from repro.errors import DataError, RunError
from repro.files import storage_errors, write_json
from repro.layers.method import Method
from repro.metrics.counts import Counts, CountsBuilder
from repro.metrics.miou import METRICS, describe_counts

if TYPE_CHECKING:
    from repro.benchmarks.layout import Pair
    from repro.benchmarks.spec import Benchmark

STAGES = ("decode", "resize", "forward", "count")
"""Where the seconds of an evaluation go: reading files; resizing images, and logits to maps and their arg-max; the
method; counting. Three threads work at once (read ahead, the method, what follows it), so that the stages' sum is
more than ``total``, the seconds of the whole loop."""

_AHEAD = 2  # batches of images read ahead


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
        """One entry a class: name, iou, accuracy, and the pixel counts."""
        rows: list[dict[str, Any]] = self.record["per_class"]
        return rows

    def counts(self) -> Counts:
        """The per-image counts."""
        return Counts.load(self.folder / "counts.npz")


def evaluate(
    method: Method,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    protocol: Protocol,
    out_dir: Path,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    *,
    view_batch: int = 0,
    batch_mib: int = 0,
    save_every: float = 30.0,
) -> EvalResult:
    """Evaluate ``method`` on ``pairs`` and write ``out_dir``/{counts.npz, metrics.json}.

    A finished evaluation of the same weights, images and protocol in ``out_dir`` is returned as it is; an interrupted
    one continues after the last image that was saved (at most ``save_every`` seconds are lost) and ends with the same
    counts. ``progress``: a bar on stderr (None: where stderr is a terminal) and, unless False, a line with the seconds
    of each stage at the end. ``view_batch``: views through the method at once (0: all that are there);
    ``batch_mib``: memory for the views of several images at once (:class:`SlidingWindow`).

    Raises DataError for unreadable or ill-fitting images and labels and for an empty list, ResourceError when the
    disk is full, RunError when the method returns NaN.
    """
    if not pairs:
        raise DataError(
            f"{benchmark.id}: no image to evaluate", mend=f"repro data prepare {benchmark.id} --data-root <root>"
        )
    with storage_errors(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
    was_training = method.training
    method.to(device).eval()
    try:
        fingerprint = _fingerprint(method, benchmark, pairs, protocol)
        done = _finished(out_dir, fingerprint)
        if done is not None:
            return done
        run = _Evaluation(method, benchmark, protocol, out_dir, device, fingerprint, view_batch, save_every, batch_mib)
        return run(pairs, progress)
    finally:
        method.train(was_training)


@dataclasses.dataclass(frozen=True)
class _Item:
    """An image that was read: its pair, its own size, its pixels as the test pipeline resizes them, its label."""

    pair: Pair
    size: tuple[int, int]
    resized: NDArray[np.uint8]
    label: NDArray[Any]


class _Evaluation:
    """The loop of :func:`evaluate` with what it carries from image to image.

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
    ) -> None:
        self.method, self.benchmark, self.out_dir, self.device = method, benchmark, out_dir, device
        self.protocol, self.fingerprint, self.save_every = protocol, fingerprint, save_every
        self.window = SlidingWindow(protocol, view_batch=view_batch, batch_mib=batch_mib)
        self.clock = StageClock(device)
        self.partial = out_dir / "counts.partial.npz"
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
        result = self._finish()
        if progress is not False:
            tqdm.write(_summary(result), file=sys.stderr)
        return result

    def _count(self, items: Sequence[_Item], logits: list[Tensor], bar: tqdm[Any]) -> None:
        """Arg-max and counts of a batch, in a thread of its own; frees the logits one by one."""
        for item in items:
            with self.clock("resize"):
                prediction = self.window.labels(self.method, logits.pop(0), item.size)
            with self.clock("count"):
                self.builder.add(item.pair.key, prediction.astype(np.int64), item.label)
            bar.update()
        now = time.monotonic()
        self.clock.add("total", now - self._counted_at)
        self._counted_at = now
        if now - self._saved_at >= self.save_every:
            self._save_partial()
            self._saved_at = now

    def _read_ahead(self, batches: Sequence[Sequence[Pair]]) -> Iterator[list[_Item]]:
        """Batches of images with their checked labels, read by one thread a little ahead of the method."""
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
            image, label = read_image(pair.image), read_label(pair.label)
            check_label(label, self.benchmark, pair.label, image.shape[:2])
        with self.clock("resize"):
            return _Item(pair, (image.shape[0], image.shape[1]), self.window.resize(image), label)

    def _save_partial(self) -> None:
        self.builder.build().save(
            self.partial,
            fingerprint=np.array(self.fingerprint),
            seconds=np.array([self.clock.seconds.get(s, 0.0) for s in (*STAGES, "total")]),
        )

    def _restore(self, pairs: Sequence[Pair]) -> None:
        """Take over the partial counts of an interrupted evaluation of exactly the same thing; drop any other."""
        if not self.partial.is_file():
            return
        try:
            counts, extra = Counts.load_with(self.partial, "fingerprint", "seconds")
        except RunError:  # not written by this version: nothing to continue from
            self.partial.unlink()
            return
        if str(extra["fingerprint"]) != self.fingerprint or counts.keys != tuple(p.key for p in pairs[: len(counts)]):
            self.partial.unlink()
            return
        self.builder.extend(counts)
        for stage, seconds in zip((*STAGES, "total"), extra["seconds"], strict=False):
            self.clock.add(stage, float(seconds))

    def _finish(self) -> EvalResult:
        counts = self.builder.build()
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
        self.partial.unlink(missing_ok=True)
        return EvalResult(self.out_dir, record)


def _summary(result: EvalResult) -> str:
    """One line: where the time went. Stages overlap, so that shares of the total may add up to more than all of it."""
    seconds, images = result.record["seconds"], result.record["num_images"]
    total = max(seconds["total"], 1e-9)
    shares = ", ".join(f"{stage} {seconds[stage]:.1f} s ({seconds[stage] / total:.0%})" for stage in STAGES)
    return (
        f"eval {result.record['benchmark']}: {images} images in {total:.1f} s ({total / images:.3g} s each): {shares}"
    )


def _finished(out_dir: Path, fingerprint: str) -> EvalResult | None:
    """The evaluation in ``out_dir`` if it is complete and of the same thing."""
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


def _fingerprint(method: Method, benchmark: Benchmark, pairs: Sequence[Pair], protocol: Protocol) -> str:
    """Sixteen hex digits over weights, protocol, vocabulary and image keys; 1 s for 433 M parameters."""
    digest = hashlib.sha256(protocol_digest(benchmark, protocol).encode())
    digest.update(type(method).__qualname__.encode())
    for name, tensor in method.state_dict().items():
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {tuple(tensor.shape)} {zlib.crc32(raw)}\n".encode())
    digest.update("\n".join(p.key for p in pairs).encode())
    return digest.hexdigest()[:16]
