"""Predictions of other code for tests: folders of label pictures, and scored runs of drawn masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fake_runs import draw_counts
from PIL import Image

from repro.datasets.images import read_label
from repro.evaluation.scoring import PROTOCOL, scored_digest
from repro.files import write_json
from repro.metrics.miou import describe_counts
from repro.runs.plan import Plan
from repro.runs.scored import METHOD, describe_scored, scored_id


def perfect(folder: Path, pairs: Any, wrong: int = 0) -> Path:
    """Write predictions that are the labels themselves, but for the first ``wrong`` rows, which have no class."""
    folder.mkdir(parents=True)
    for pair in pairs:
        label = read_label(pair.label).copy()
        label[:wrong] = np.iinfo(label.dtype).max
        Image.fromarray(label).save(folder / f"{pair.key}.png")
    return folder


def store_score(plan: Plan, name: str, benchmark_id: str, right: float, images: int, data: str | None = None) -> str:
    """Put the score of drawn masks into the store of ``plan``; returns the id of the run."""
    benchmark = next(b for b in plan.benchmarks if b.id == benchmark_id)
    facts = {"method": METHOD, "name": name, "format": "drawn", "content": f"{benchmark_id} {right}", "seed": 0}
    store, run_id = plan.assets.store, scored_id(facts)
    describe_scored(store.run(run_id), facts)
    digest = scored_digest(benchmark)
    cell = {"benchmark": benchmark_id, "protocol": digest, "data": data or plan.assets.data_key(benchmark_id)}
    folder = store.claim(store.evaluation(run_id, benchmark_id, "key"), "key", cell)
    counts = draw_counts(benchmark, images, right)
    counts.save(folder / "counts.npz")
    record = {"format": 1, "benchmark": benchmark_id, "protocol": PROTOCOL, "protocol_digest": digest}
    more = {"fingerprint": run_id, "num_images": images, "num_classes": counts.num_classes, "hardware": "drawn"}
    write_json(folder / "metrics.json", {**record, **more, **describe_counts(counts, benchmark.class_names())})
    return run_id
