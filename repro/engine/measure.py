"""Evaluation with measures switched on (repro.measures): in the same forward pass where the counts are missing too.

Beside :mod:`repro.engine.evaluate` and not in it: what is measured besides the counts decides no mIoU, so switching a
measure on must not change the address of an evaluation that is already there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from repro.benchmarks.protocol import Protocol
from repro.engine.evaluate import EvalResult, _Evaluation, _fingerprint, _finished, evaluate
from repro.errors import RunError
from repro.layers.method import Method
from repro.measures.base import Measure
from repro.measures.files import MEASURES, check_measures, read_measure, write_measure
from repro.metrics.counts import Counts, CountsBuilder

if TYPE_CHECKING:
    from repro.benchmarks.layout import Pair
    from repro.benchmarks.spec import Benchmark


def evaluate_with_measures(
    method: Method,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    protocol: Protocol,
    out_dir: Path,
    measures: Sequence[str] = (),
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    *,
    view_batch: int = 0,
    save_every: float = 30.0,
) -> EvalResult:
    """As :func:`repro.engine.evaluate.evaluate`, and each of ``measures`` beside the counts.

    Only what is missing is computed: finished counts are kept as they are, and a measure of the same weights, images
    and protocol is not measured again. An interrupted pass goes on where it stopped. Raises as ``evaluate`` does, and
    UsageError for an unknown measure.
    """
    wanted = check_measures(measures)
    was_training = method.training
    method.to(device).eval()
    try:
        fingerprint = _fingerprint(method, benchmark, pairs, protocol) if wanted else ""
        missing = [m for m in wanted if not _measured(out_dir, m, benchmark, fingerprint)]
        if not missing or not pairs:
            return evaluate(
                method, benchmark, pairs, protocol, out_dir, device, progress,
                view_batch=view_batch, save_every=save_every,
            )  # fmt: skip
        run = _MeasuredEvaluation(method, benchmark, protocol, out_dir, device, fingerprint, view_batch, save_every)
        run.measure([MEASURES[name](benchmark) for name in missing])
        return run(pairs, progress)
    finally:
        method.train(was_training)


def _measured(out_dir: Path, name: str, benchmark: Benchmark, fingerprint: str) -> bool:
    record = read_measure(out_dir, name, benchmark)
    return record is not None and record["fingerprint"] == fingerprint


class _MeasuringBuilder(CountsBuilder):
    """Counts an image and shows it to the measures; ``seconds`` is what the measures took."""

    def __init__(self, benchmark: Benchmark, measures: Sequence[Measure]) -> None:
        super().__init__(benchmark.num_classes, benchmark.ignore_label, benchmark.background_index)
        self.measures, self.seconds = measures, 0.0

    def add(self, key: str, prediction: NDArray[Any], label: NDArray[Any]) -> None:
        super().add(key, prediction, label)
        begin = time.perf_counter()
        for measure in self.measures:
            measure.add(key, prediction, label)
        self.seconds += time.perf_counter() - begin


class _MeasuredEvaluation(_Evaluation):
    """The loop of an evaluation whose images are shown to measures as well."""

    def measure(self, measures: Sequence[Measure]) -> None:
        """Collect ``measures`` too; partial results get files of their own, those without measures being of no use."""
        self.measures = measures
        self.builder: _MeasuringBuilder = _MeasuringBuilder(self.benchmark, measures)
        names = "-".join(m.name for m in measures)
        self.partial = self.out_dir / f"counts.{names}.partial.npz"

    def _parts(self) -> list[tuple[Path, CountsBuilder]]:
        return [
            (self.partial.with_name(f"{part}.{self.partial.name.removeprefix('counts.')}"), builder)
            for measure in self.measures
            for part, builder in measure.builders.items()
        ]

    def _save_partial(self) -> None:
        for path, builder in self._parts():
            builder.build().save(path)
        super()._save_partial()

    def _restore(self, pairs: Sequence[Pair]) -> None:
        """Take over an interrupted pass where counts and measures stopped at the same image, else begin again."""
        try:
            parts = [(builder, Counts.load(path)) for path, builder in self._parts()] if self.partial.is_file() else []
            in_step = all(counts.keys == Counts.load(self.partial).keys for _, counts in parts)
        except (RunError, OSError):
            in_step = False
        if not in_step:
            self.partial.unlink(missing_ok=True)
        super()._restore(pairs)
        if len(self.builder):
            for builder, counts in parts:
                builder.extend(counts)

    def _finish(self) -> EvalResult:
        counts = self.builder.build()
        done = _finished(self.out_dir, self.fingerprint)
        extra = {
            "seconds": round(self.builder.seconds, 4),
            # False tells that this pass did not predict what the stored counts were made from (a GPU's freedom).
            "same_counts": done is None or _equal(done.counts(), counts),
        }
        for measure in self.measures:
            write_measure(self.out_dir, measure, self.fingerprint, extra)
        if done is None:
            self.clock.add("count", -self.builder.seconds)  # the stages are those of the evaluation alone
            done = super()._finish()
        for path in [self.partial, *(path for path, _ in self._parts())]:
            path.unlink(missing_ok=True)
        return done


def _equal(a: Counts, b: Counts) -> bool:
    ours, theirs = a.arrays(), b.arrays()
    return all(np.array_equal(ours[name], theirs[name]) for name in ours)
