"""Run stores with evaluations of drawn masks: what compare and check read, without a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.datasets.benchmarks import Benchmark
from repro.datasets.protocol import protocol_digest
from repro.files import write_json
from repro.metrics.counts import Counts, CountsBuilder
from repro.metrics.miou import describe_counts
from repro.runs.addresses.code import FILE as CODE
from repro.runs.addresses.judging import evaluation_subject, training_subject
from repro.runs.execute import asked_of
from repro.runs.plan import Plan, Run, make_plan
from repro.traces.subject import Subject


def draw_counts(
    benchmark: Benchmark, images: int, right: float, seed: int = 0, worse: float = 0.0, redrawn: float = 0.0
) -> Counts:
    """Counts of ``images`` with labels that depend on nothing but their number.

    A prediction is right at a pixel with probability ``right``; ``seed`` draws the mistakes. Of the right pixels a
    share ``worse`` is made wrong, and in a share ``redrawn`` of the images the mistakes are other ones.
    """
    builder = CountsBuilder(benchmark.num_classes, benchmark.ignore_label, benchmark.background_index)
    n = benchmark.num_classes
    for i in range(images):
        scene, mistakes, extra = (np.random.default_rng([i, s]) for s in (0, seed + 1, seed + 1001))
        if extra.random() < redrawn:
            mistakes = extra
        classes = scene.choice(min(n, 12), 4, replace=False)
        label = classes[scene.integers(0, 4, (8, 8))].repeat(6, 0).repeat(6, 1)
        skill = np.clip(right + 0.15 * scene.standard_normal(), 0, 1)
        prediction = np.where(
            mistakes.random(label.shape) < skill, label, classes[mistakes.integers(0, 4, label.shape)]
        )
        if worse:
            prediction = np.where(extra.random(label.shape) < worse, (prediction + 1) % min(n, 12), prediction)
        builder.add(f"image_{i:03d}", prediction, np.where(scene.random(label.shape) < 0.05, 65535, label))
    return builder.build()


def plan_of(runs: Path, seeds: Sequence[int] = (0,), benchmarks: Sequence[str] | None = None) -> Plan:
    return make_plan(load_table("table1"), load_profile("smoke"), runs, seeds=seeds, benchmarks=benchmarks)


def store_counts(plan: Plan, row: str, benchmark: str, counts: Counts, seed: int = 0, **protocol: float) -> Path:
    """Put ``counts`` where the evaluation of ``row`` on ``benchmark`` lies; returns its folder.

    ``protocol`` replaces fields of the profile's: an evaluation by another one.
    """
    cell = next(
        c for c in plan.cells if (c.run.row.id, c.benchmark.id) == (row, benchmark) and c.run.seed in (seed, 0)
        and (c.run.seed == seed or not c.run.train)
    )  # fmt: skip
    used = dataclasses.replace(cell.run.profile.protocol, **protocol)
    digest = protocol_digest(cell.benchmark, used)
    store = plan.assets.store
    facts = {"benchmark": benchmark, "protocol": digest, "data": cell.run.assets.data_key(benchmark)}
    folder = store.claim(cell.place.path, cell.key, facts)
    write_made(cell.run, folder, evaluation_subject(cell.run))
    counts.save(folder / "counts.npz")
    record = {
        "format": 1,
        "benchmark": benchmark,
        "protocol": dataclasses.asdict(used),
        "protocol_digest": digest,
        "fingerprint": cell.run.id,
        "num_images": len(counts),
        "num_classes": counts.num_classes,
        "hardware": "drawn",
        "seconds": {},
        **describe_counts(counts, cell.benchmark.class_names()),
    }
    write_json(folder / "metrics.json", record)
    if cell.run.train is not None:
        write_made(cell.run, cell.run.place.path, training_subject(cell.run))
    record = {"run": cell.run.id, "asked": asked_of(cell.run), "facts": cell.run.facts}
    write_json(cell.run.place.path / "provenance.json", record)
    return folder


def write_made(run: Run, folder: Path, subject: Subject) -> None:
    """Say that the current code made what is in ``folder``, by its source alone: no trace is taken."""
    inputs = run.assets.inputs(run.row.tower)
    made = {"source": run.assets.code.source(subject).digest, "inputs": inputs, "trace": None, "date": "2026-01-01"}
    write_json(folder / CODE, {"format": 1, "what": subject.what, "made": made, "taken": []})
