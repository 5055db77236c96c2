"""What every loop over predictions keeps: counts and measures, resumable, and the files they end in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from repro.clock import StageClock, hardware_label
from repro.errors import DataError, RunError, command
from repro.evaluation.result import STAGES, EvalResult, finished
from repro.files import write_json
from repro.metrics.counts import Counts, CountsBuilder
from repro.metrics.measured import write_measure
from repro.metrics.miou import describe_counts

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.datasets.layout import Pair
    from repro.metrics.measure import Measure


class CountingLoop:
    """Counts of predictions on the images of a benchmark, and measures of the same, whoever predicts.

    A subclass loops over the images and calls :meth:`add` for each; ``protocol`` says how they are predicted, as plain
    data, and ``protocol_digest`` what it and the labels are known by. The partial results of measures have files of
    their own: those without measures are of no use to a loop that measures.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        protocol: dict[str, Any],
        protocol_digest: str,
        out_dir: Path,
        device: torch.device | str,
        fingerprint: str,
        measures: Sequence[Measure] = (),
        *,
        share: bool = False,
    ) -> None:
        self.benchmark, self.out_dir, self.device, self.share = benchmark, out_dir, device, share
        self.fingerprint = fingerprint
        self._protocol, self._protocol_digest = protocol, protocol_digest
        self.clock = StageClock(device)
        self.measures, self.measuring = measures, 0.0
        self.partial = out_dir / ".".join(["counts", *(["-".join(m.name for m in measures)] if measures else []),
                                           "partial", "npz"])  # fmt: skip
        self.builder = CountsBuilder(benchmark.num_classes, benchmark.ignore_label, benchmark.background_index)

    def add(self, key: str, prediction: NDArray[Any], label: NDArray[Any]) -> None:
        """Count one image; ``prediction`` (H, W) in prompt classes, ``label`` (H, W) as stored."""
        with self.clock("count"):
            self.builder.add(key, prediction.astype(np.int64), label)
        begin = time.perf_counter()
        for measure in self.measures:
            measure.add(key, prediction.astype(np.int64), label)
        self.measuring += time.perf_counter() - begin

    def _parts(self) -> list[tuple[Path, CountsBuilder]]:
        """Return the partial files of the measures and what is counted for them."""
        return [
            (self.partial.with_name(f"{part}.{self.partial.name.removeprefix('counts.')}"), builder)
            for measure in self.measures
            for part, builder in measure.builders.items()
        ]

    def _forget(self) -> None:
        """Begin with the first image again."""
        for builder in [self.builder, *(builder for _, builder in self._parts())]:
            builder.clear()

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
            "protocol": self._protocol,
            "protocol_digest": self._protocol_digest,
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


def _equal(a: Counts, b: Counts) -> bool:
    ours, theirs = a.arrays(), b.arrays()
    return all(np.array_equal(ours[name], theirs[name]) for name in ours)
