"""A table with finished cells, losses and provenance, made of drawn masks: what reports are made from."""

from __future__ import annotations

import json
from pathlib import Path

from fake_runs import draw_counts, plan_of, store_counts

from repro.datasets.benchmarks import get_benchmark
from repro.files import read_json, write_json
from repro.reports.tables.evidence import Evidence
from repro.runs.status import plan_status

IMAGES = 16
SKILLS = {"clip-base": 0.35, "catseg-base": 0.55, "disa-base": 0.75}


def finished_table(runs: Path, benchmarks: tuple[str, ...] = ("A-150", "PAS-20b")) -> Evidence:
    """Table 1 of the smoke profile with two seeds: three rows evaluated on ``benchmarks``, the others missing."""
    plan = plan_of(runs, seeds=(0, 1), benchmarks=benchmarks)
    for name in benchmarks:
        for row, skill in SKILLS.items():
            for seed in (0, 1) if row != "clip-base" else (0,):
                store_counts(plan, row, name, draw_counts(get_benchmark(name), IMAGES, skill, seed=seed), seed)
    for run in plan.runs:
        folder = plan.assets.store.run(run.id)
        if run.row.id not in SKILLS:
            continue
        record = read_json(folder / "provenance.json")
        made = {"command": "repro run table1", "created": "2026-01-01", "repro": "0", "python": "3.11", "git": None}
        hardware = {"label": "CPU, 2 cores", "cpu": "a CPU", "memory_gib": 4.0}
        write_json(folder / "provenance.json", {**record, **made, "hardware": hardware, "packages": {"torch": "2.13"}})
        if run.train:
            steps = [{"iteration": i, "loss": 1 / i, "grad_norm": 2 / i} for i in range(10, 110, 10)]
            (folder / "losses.jsonl").write_text("".join(json.dumps(s) + "\n" for s in steps))
    return Evidence(plan, plan_status(plan), resamples=300)
