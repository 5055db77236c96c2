"""Traces repeat, disturb nothing, do not depend on threads, and exist for every row of every table."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import rich.style  # noqa: F401  draws a number of Python's generator when it is first imported
import torch

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table, table_names
from repro.runs.addresses.judging import evaluation_subject, maps_subject, prediction_subject, training_subject
from repro.runs.plan import Run, make_plan
from repro.sources.trace import TOLERANCE, Trace, difference
from repro.traces import fixture


def run_of(folder: Path, row: str = "disa-base", table: str = "table1") -> Run:
    return next(r for r in make_plan(load_table(table), load_profile("mini"), folder).runs if r.row.id == row)


def taken(run: Run) -> Trace:
    trace = dict(training_subject(run).take())  # type: ignore[misc]
    trace |= {f"evaluation: {k}": v for k, v in evaluation_subject(run).take().items()}  # type: ignore[misc]
    return trace


def test_a_trace_repeats_and_leaves_generators_and_threads_as_they_were(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), torch.get_num_threads()
    first, second = taken(run), taken(run)
    assert first == second
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert (random.getstate(), torch.get_num_threads()) == before[1:]


@pytest.mark.slow
@pytest.mark.parametrize("row", ["catseg-base", "logoseg-base", "synseg-base", "disa-base"])
def test_sums_in_another_order_stay_within_the_tolerance(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path, row)
    alone = taken(run)
    set_threads, before = torch.set_num_threads, torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", lambda count: set_threads(2 if count == 1 else count))
    try:
        assert difference(alone, taken(run)) == []
    finally:
        set_threads(before)
    assert TOLERANCE == 1e-9


def test_other_options_have_another_trace(tmp_path: Path) -> None:
    a, b = run_of(tmp_path), run_of(tmp_path, "disa-k16", "table4")
    assert difference(training_subject(a).take(), training_subject(b).take())  # type: ignore[misc]


def rows() -> list[tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for table in table_names():
        if load_table(table).kind != "benchmarks":
            continue
        for run in make_plan(load_table(table), load_profile("mini"), Path("nowhere")).runs:
            found.setdefault(run.address, (table, run.row.id))
    return list(found.values())


@pytest.mark.long
@pytest.mark.parametrize(("table", "row"), rows())
def test_every_row_of_every_table_has_a_trace(table: str, row: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, row, table)
    for subject in (evaluation_subject(run), maps_subject(run), prediction_subject(run)):
        assert subject.take is not None
        assert subject.take()
    if run.train is not None:
        trace = training_subject(run).take()  # type: ignore[misc]
        parts = {name.split(" / ")[0] for name in trace}
        assert {"first weights", "augmented images", "losses and rates", "weights", "logits"} <= parts


@pytest.mark.parametrize(
    ("model", "resolution", "shrink"),
    [("ViT-B-16-quickgelu", 384, 2), ("ViT-L-14-336-quickgelu", 336, 2), ("tiny", 64, 1),
     ("convnext_base_w_320", 768, 2), ("EVA02-B-16", 512, 2)],
)  # fmt: skip
def test_large_maps_are_made_small_and_stay_whole(model: str, resolution: int, shrink: int, tmp_path: Path) -> None:
    from repro.clip.spec import TowerSpec

    spec = TowerSpec(model=model, weights=None, resolution=resolution)
    assert fixture.shrinking(spec) == shrink
    tower = fixture.built_tower(spec, tmp_path, shrink)
    stride = {"ViT-B": 16, "ViT-L": 14, "tiny": 8, "convn": 32, "EVA02": 16}[model[:5].rstrip("-")]
    assert tower.grid == resolution // stride // shrink
    assert next(tower.parameters()).dtype == torch.float64
