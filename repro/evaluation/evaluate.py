"""Evaluation of one method on one benchmark: the only code path, during training and at the end.

Writes ``counts.npz`` (per-image integer counts, :mod:`repro.metrics.counts`) and then ``metrics.json``, whose
presence means "done". Until then ``counts.partial.npz``, renewed every half minute, lets a killed one continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from repro.datasets.protocol import Protocol
from repro.errors import DataError, command
from repro.evaluation.loop import EvaluationLoop
from repro.evaluation.result import STAGES, EvalResult, fingerprint, finished
from repro.evaluation.saved import SavedPredictions
from repro.files import storage_errors
from repro.methods.interface import Method
from repro.metrics.measured import MEASURES, counted_measures, measured

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.datasets.layout import Pair

__all__ = ["STAGES", "EvalResult", "evaluate"]


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
    measures: Sequence[str] = (),
    data: str = "",
    share: bool = False,
    saver: SavedPredictions | None = None,
) -> EvalResult:
    """Evaluate ``method`` on ``pairs`` and write ``out_dir``/{counts.npz, metrics.json}, and each of ``measures``.

    A finished evaluation of the same weights, images, protocol and ``data`` (what their content is known by:
    :func:`repro.datasets.verify.fingerprint.fingerprint`) in ``out_dir`` is returned as it is; an interrupted
    one continues after the last image that was saved (at most ``save_every`` seconds are lost) and ends with the same
    counts. Measures (:mod:`repro.metrics.measured`) that are missing are taken in the same forward pass; finished
    counts stay as they are beside them. ``progress``: a bar on stderr (None: where stderr is a terminal) and, unless
    False, a line with the seconds of each stage at the end. ``view_batch``: views through the method at once (0: all
    that are there); ``batch_mib``: memory for the views of several images at once
    (:class:`repro.evaluation.infer.SlidingWindow`).

    ``share``: these are some of the images only, which may be without any labelled pixel. ``saver`` gets the prediction
    of every image; a finished evaluation is repeated where it lacks some.

    Raises DataError for unreadable or ill-fitting images and labels, for an empty list and for images without a
    labelled pixel, ResourceError for a full disk, RunError for NaN, UsageError for an unknown measure.
    """
    wanted = counted_measures(measures)
    if not pairs:
        raise DataError(
            f"{benchmark.id}: no image to evaluate",
            mend=command("repro", "data", "prepare", benchmark.id, "--data-root", "DIR"),
        )
    with storage_errors(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
    was_training = method.training
    method.to(device).eval()
    try:
        own = fingerprint(method, benchmark, pairs, protocol, data)
        done = finished(out_dir, own)
        missing = [name for name in wanted if not measured(out_dir, name, benchmark, own)]
        saved = saver is None or saver.has(pair.key for pair in pairs)
        if done is not None and not missing and saved:
            return done
        taken = [MEASURES[name](benchmark) for name in missing]
        loop = EvaluationLoop(
            method,
            benchmark,
            protocol,
            out_dir,
            device,
            own,
            view_batch,
            save_every,
            batch_mib,
            taken,
            share=share,
            saver=saver,
        )
        return loop(pairs, progress)
    finally:
        method.train(was_training)
