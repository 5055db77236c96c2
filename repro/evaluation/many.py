"""Evaluation divided over processes, with the counts of an undivided one whatever the number of images.

Every process evaluates a run of neighbouring images that begins at the edge of a batch, so that the same images go
through the method together as in one process; no image is given to two, and none is left out. Counts are kept image by
image, so that putting them together is stringing them together.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from repro.datasets.protocol import Protocol
from repro.evaluation.evaluate import evaluate
from repro.evaluation.infer import SlidingWindow
from repro.evaluation.loop import EvaluationLoop
from repro.evaluation.result import STAGES, EvalResult, fingerprint, finished
from repro.evaluation.saved import SavedPredictions
from repro.files import read_json
from repro.launch import processes
from repro.methods.interface import Method
from repro.metrics.counts import Counts
from repro.metrics.measured import MEASURES, counted_measures, measured, part_counts, read_measure, write_measure

if TYPE_CHECKING:
    from repro.datasets.benchmarks import Benchmark
    from repro.datasets.layout import Pair

PARTS = "parts"
"""Folder below an evaluation that holds what each process found, until all have ended."""


def evaluate_together(
    method: Method,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    protocol: Protocol,
    out_dir: Path,
    measures: Sequence[str] = (),
    device: torch.device | str = "cpu",
    progress: bool | None = None,
    data: str = "",
    save: Path | None = None,
) -> EvalResult:
    """Evaluate as :func:`repro.evaluation.evaluate.evaluate`, by all processes that are joined; each must call.

    The folder ends with the same files. Their ``seconds`` are those of the slowest process. An interrupted evaluation
    goes on where it stopped if as many processes take it up. Predictions are written into the folder ``save``
    (:mod:`repro.evaluation.saved`). Raises on every process what any of them raises.
    """
    if save is not None and pairs:
        saver = SavedPredictions(save, benchmark, fingerprint(method.to(device), benchmark, pairs, protocol, data))
        processes.on_first(saver.open)
        result = _evaluate(method, benchmark, pairs, protocol, out_dir, measures, device, progress, data, saver)
        processes.on_first(saver.close)
        return result
    return _evaluate(method, benchmark, pairs, protocol, out_dir, measures, device, progress, data, None)


def _evaluate(
    method: Method,
    benchmark: Benchmark,
    pairs: Sequence[Pair],
    protocol: Protocol,
    out_dir: Path,
    measures: Sequence[str],
    device: torch.device | str,
    progress: bool | None,
    data: str,
    saver: SavedPredictions | None,
) -> EvalResult:
    world = processes.world()
    if world == 1 or not pairs:
        return evaluate(
            method, benchmark, pairs, protocol, out_dir, device, progress, measures=measures, data=data, saver=saver
        )
    wanted = counted_measures(measures)
    method.to(device)
    own = fingerprint(method, benchmark, pairs, protocol, data)
    saved = saver is None or processes.on_first(lambda: saver.has(pair.key for pair in pairs))
    if saved and processes.on_first(lambda: _complete(out_dir, benchmark, wanted, own)):
        return processes.together(
            # reads what is there
            lambda: evaluate(method, benchmark, pairs, protocol, out_dir, device, progress, data=data)
        )
    classes = method.prompts(benchmark.prompt_names(), benchmark.background_index)
    step = SlidingWindow(protocol).images_at_once(len(classes), device)
    edges = shares(len(pairs), step, world)
    folders = [out_dir / PARTS / f"{a:06d}-{b:06d}" for a, b in edges]
    start, stop = edges[processes.rank()]

    def own_share() -> None:
        if start < stop:
            bar = progress if processes.is_first() else False
            folder = folders[processes.rank()]
            evaluate(
                method,
                benchmark,
                pairs[start:stop],
                protocol,
                folder,
                device,
                bar,
                measures=wanted,
                data=data,
                share=True,
                saver=saver,
            )

    processes.together(own_share)
    full = [folder for folder, (a, b) in zip(folders, edges, strict=True) if a < b]
    whole = EvaluationLoop(method, benchmark, protocol, out_dir, device, own, 0, math.inf)
    return processes.on_first(lambda: _merged(whole, full, wanted))


def shares(images: int, step: int, world: int) -> list[tuple[int, int]]:
    """Return, of each of ``world`` processes, start and end of its share of ``images``, in whole batches of ``step``.

    The shares differ by one batch at most; with fewer batches than processes some are empty.
    """
    batches = -(-images // step)
    edges = [min(images, step * (batches * number // world)) for number in range(world + 1)]
    return list(itertools.pairwise(edges))


def _complete(out_dir: Path, benchmark: Benchmark, measures: Sequence[str], own: str) -> bool:
    return all(measured(out_dir, name, benchmark, own) for name in measures) and finished(out_dir, own) is not None


def _merged(run: EvaluationLoop, folders: Sequence[Path], measures: Sequence[str]) -> EvalResult:
    """Return the evaluation that the parts in ``folders`` make together, written as one process would."""
    for name in measures:
        measure = MEASURES[name](run.benchmark)
        for part, builder in measure.builders.items():
            for folder in folders:
                builder.extend(part_counts(folder, part, run.benchmark))
        records = [r for r in (read_measure(folder, name, run.benchmark) for folder in folders) if r is not None]
        extra = {"seconds": max(r["seconds"] for r in records), "same_counts": all(r["same_counts"] for r in records)}
        write_measure(run.out_dir, measure, run.fingerprint, extra)
    result = finished(run.out_dir, run.fingerprint)
    if result is None:
        found = [_part(folder) for folder in folders]
        for counts, _ in found:
            run.builder.extend(counts)
        for stage in (*STAGES, "total"):
            run.clock.add(stage, max(seconds[stage] for _, seconds in found))
        result = run.finish()
    shutil.rmtree(run.out_dir / PARTS)
    return result


def _part(folder: Path) -> tuple[Counts, dict[str, float]]:
    seconds: dict[str, float] = read_json(folder / "metrics.json")["seconds"]
    return Counts.load(folder / "counts.npz"), seconds
