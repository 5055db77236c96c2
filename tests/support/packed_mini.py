"""A small miniature with two of its methods trained for a few steps, packed, and what they reach."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from small_mini import small_mini

from repro.cli.main import main
from repro.runs.gates.packing import update_weights
from repro.runs.gates.weights import WeightsRequest

METHODS = ["clip", "catseg"]


def trained_mini(folder: Path) -> WeightsRequest:
    """Train in ``folder``; the request packs what was trained into ``folder / "packed.json"``."""
    profile = folder / "trained.py"
    profile.write_text(
        f"_base_ = [{small_mini(folder)!r}]\nname = 'trained'\none_run_per_core = False\nzero_shot_bar = 0\n"
        "train = dict(iterations=3)\n"
    )
    request = WeightsRequest(folder / "packed.json", METHODS, folder / "runs", str(profile))
    words = ["--profile", profile, "--runs", request.runs, "--methods", ",".join(METHODS), "--benchmarks", "PAS-20"]
    assert main(["run", "table1", *map(str, words), "--results", str(folder / "results")]) == 0
    return request


def packed_mini(folder: Path) -> WeightsRequest:
    """The same, packed; the request checks it."""
    request = trained_mini(folder)
    update_weights(request)
    return dataclasses.replace(request, methods=None, profile="")
