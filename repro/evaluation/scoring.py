"""Predictions of other code, counted and measured as those of our own methods are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from repro.datasets.images import check_label, read_label
from repro.evaluation.counting import CountingLoop
from repro.evaluation.result import EvalResult, finished
from repro.hashing import digest
from repro.interop.predictions import Predictions
from repro.metrics.measured import MEASURES, counted_measures, measured

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.datasets.layout import Pair

PROTOCOL = {"predictions": "of other code"}
"""What is known of how they were made: nothing but what their labels mean."""
_SAVE_EVERY = 30.0


def scored_digest(benchmark: Benchmark) -> str:
    """Return the digest of what decides what a score means: classes, ignore label and fold."""
    facts = [PROTOCOL, benchmark.id, benchmark.class_names(), benchmark.ignore_label, benchmark.background_index]
    return digest(facts, 12)


def score_predictions(
    predictions: Predictions,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    out_dir: Path,
    content: str,
    *,
    measures: Sequence[str] = (),
    progress: bool | None = None,
) -> EvalResult:
    """Count ``predictions`` on the labels of ``pairs`` into ``out_dir``, with the files of an evaluation.

    ``content`` identifies predictions and data: what is finished of the same is returned as it is, what was interrupted
    continues. Raises DataError for predictions that are missing, ill-fitting or no classes of the benchmark.
    """
    wanted = counted_measures(measures)
    own = digest([scored_digest(benchmark), content, [p.key for p in pairs]], 16)
    done = finished(out_dir, own)
    missing = [name for name in wanted if not measured(out_dir, name, benchmark, own)]
    if done is not None and not missing:
        return done
    loop = _ScoringLoop(
        benchmark,
        dict(PROTOCOL),
        scored_digest(benchmark),
        out_dir,
        "cpu",
        own,
        [MEASURES[name](benchmark) for name in missing],
    )
    return loop(predictions, pairs, progress)


class _ScoringLoop(CountingLoop):
    """The loop over images whose predictions are read."""

    def __call__(self, predictions: Predictions, pairs: Sequence[Pair], progress: bool | None) -> EvalResult:
        self._restore(pairs)
        start = saved = time.monotonic()
        left = pairs[len(self.builder) :]
        disable = None if progress is None else not progress
        try:
            for pair in tqdm(left, desc=f"score {self.benchmark.id}", unit="image", disable=disable):
                with self.clock("decode"):
                    label = read_label(pair.label)
                    check_label(label, self.benchmark, pair.label)
                    prediction = predictions.read(pair.key, (label.shape[0], label.shape[1]))
                self.add(pair.key, prediction, label)
                if time.monotonic() - saved >= _SAVE_EVERY:
                    self._save_partial()
                    saved = time.monotonic()
        except BaseException:  # also Ctrl-C: what was counted is kept, whatever ended the loop
            if len(self.builder):
                self._save_partial()
            raise
        self.clock.add("total", time.monotonic() - start)
        return self.finish()
