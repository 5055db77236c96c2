"""Every row of every table computes on a GPU; tensors without numbers need none, but a torch built with CUDA."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from repro.clip.tower import build_tower
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table, table_names
from repro.runs.plan import Run, make_plan
from repro.testing.device_path import NAMES, autocast
from repro.testing.fake_device import KIND, TO_DEVICE, WITHOUT_CUDA, fake_device, put

READ = {"repro.layers.mccl:pairs_of"}
"""Who asks the device for values: what is learned from image-level labels. Facts of names may be sent to it."""


def differing(table: str, folder: Path) -> list[Run]:
    """Runs of ``table`` that differ in method or options."""
    plan = make_plan(load_table(table), load_profile("smoke"), folder)
    return list({(run.entry.name, repr(run.options)): run for run in plan.runs}.values())


@pytest.mark.slow
@pytest.mark.skipif(KIND != "cuda", reason=WITHOUT_CUDA)
@pytest.mark.parametrize("table", table_names())
def test_rows_compute_on_the_device_in_half_precision(table: str, tmp_path: Path) -> None:
    for run in differing(table, tmp_path):
        method = run.entry.create(build_tower(run.assets.untrained_tower(run.row.tower)), run.options)
        with fake_device() as waits, autocast("bf16"):
            put(method)
            images = torch.empty(2, 3, 60, 72, device=KIND)
            with torch.no_grad():
                made = {"logits": method.eval()(images, NAMES)}
            if run.entry.trainable:
                labels = torch.empty(2, 60, 72, dtype=torch.int64, device=KIND)
                made |= method.train().loss(images, labels, NAMES)
        assert {value.device.type for value in made.values()} == {KIND}, run.row.title
        assert {wait.where for wait in waits if wait.what != TO_DEVICE} <= READ, run.row.title
