"""A look at a training while there is still time to stop it: users have burnt 80,000 iterations to reach 1.8 mIoU."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.datasets.benchmarks import BENCHMARKS
from repro.files import read_json, write_json
from repro.runs.gates.plausible import implausible
from repro.runs.plan import Plan, Run

if TYPE_CHECKING:
    from repro.methods.interface import Method
    from repro.training.observers import Evaluator

FILE = "early.json"
SHARE = 0.05
"""The part of its iterations after which a training is looked at."""
IMAGES = 32
"""Images it is looked at on, evenly out of the benchmark with the fewest classes among those whose data are there."""


def early_look(plan: Plan, run: Run, device: str, log: Callable[[str], None]) -> tuple[Evaluator, int]:
    """Return what :func:`repro.training.train.train` takes as ``evaluator`` and ``evaluate_every``; (.., 0): no look.

    The look writes ``early.json`` into the run's folder (iteration, benchmark, images, miou_gt 0..1, flag) and
    tells ``log`` where the number is implausible (:mod:`repro.runs.gates.plausible`). The training continues:
    whether a cell is flagged is decided by its final number.
    """
    assert run.train is not None
    there = [b for b in plan.benchmarks or BENCHMARKS.values() if not plan.assets.missing_data(b)]
    if not there or not plan.profile.flag_implausible:
        return lambda *_: {}, 0
    benchmark = min(there, key=lambda b: b.num_classes)
    at = max(1, round(SHARE * run.train.iterations))

    def look(method: Method, iteration: int) -> Mapping[str, float]:
        from repro.evaluation.evaluate import evaluate

        if iteration != at:
            return {}
        pairs = plan.assets.ensure_pairs(benchmark)
        pairs = pairs[:: -(-len(pairs) // IMAGES)]
        folder = plan.assets.store.run(run.id)
        shutil.rmtree(folder / "early", ignore_errors=True)
        result = evaluate(method, benchmark, pairs, run.profile.protocol, folder / "early", device, progress=False)
        shutil.rmtree(folder / "early", ignore_errors=True)
        miou, why = result.record["miou_gt"], implausible(result.record)
        write_json(folder / FILE, {"iteration": at, "benchmark": benchmark.id, "images": len(pairs), "miou_gt": miou,
                                   "flag": why})  # fmt: skip
        if why is not None:
            log(f"after {at} of {run.train.iterations} iterations on {len(pairs)} images of {benchmark.id}: {why}. "  # type: ignore[union-attr]
                "The training continues; if that is not expected, stop it (Ctrl-C) and run repro backbone")  # fmt: skip
        return {}

    return look, at


def read_early(folder: Path) -> dict[str, Any] | None:
    """Return the content of ``early.json`` in a run's folder; None where there is none."""
    path = folder / FILE
    return read_json(path) if path.is_file() else None
