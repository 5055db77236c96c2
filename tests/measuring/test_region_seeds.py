"""Region tables over seeds: an aligned tower is made once a seed; means, deviations and gains are of all seeds."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.files import write_json
from repro.locks import folder_lock
from repro.measuring.region_seeds import entries, gains, pooled, with_seeds
from repro.measuring.regions import RegionStatus, measure_regions, region_status
from repro.metrics.regions.accuracy import Ranks
from repro.reports.tables.regions import region_numbers, region_sheet
from repro.runs.plan import Plan, make_plan
from repro.runs.status import DONE
from repro.stats.interval import percentile_interval
from repro.stats.resample import draw_images
from repro.towers.kind import TrainingCost

SEEDS = (0, 1, 2)
PROFILE = load_profile("smoke")


def ranks(*things: int) -> Ranks:
    """Two images with a person, a bicycle and stuff each; the ranks of the things' boxes and masks in order."""
    box = np.array([things[0], things[1], 0, things[2], things[3], 9], np.int16)
    category = np.array([0, 1, 100, 0, 1, 100], np.int16)
    return Ranks(2, np.array([0, 0, 0, 1, 1, 1], np.int32), category, category < 80, box, box)


START = ranks(0, 1, 1, 1)
OF_SEED = {0: ranks(0, 0, 1, 1), 1: ranks(0, 0, 0, 1), 2: ranks(0, 0, 0, 0)}
"""Boxes named: 1 of 4 at the start; 2, 3 and 4 of 4 by the alignments of the seeds."""


def measured(folder: Path, seeds: tuple[int, ...] = SEEDS) -> tuple[Plan, list[RegionStatus]]:
    table = with_seeds(load_table("densevlm-table2"), PROFILE, seeds)
    plan = make_plan(table, PROFILE, folder)
    states = region_status(plan)
    for state in states:
        row = state.cell.run.row.id
        if row in ("clip", "densevlm"):
            state.ranks, state.status = START if row == "clip" else OF_SEED[state.seed or 0], DONE
    return plan, states


def test_an_aligned_tower_is_made_once_a_seed_and_a_tower_as_it_is_once(tmp_path: Path) -> None:
    plan, states = measured(tmp_path)
    seeds: dict[str, list[int | None]] = {}
    for state in states:
        seeds.setdefault(state.cell.run.row.id, []).append(state.seed)
    made = {row: [0, 1, 2] for row in ("features", "logits", "densevlm")}
    assert seeds == {"clip": [None], "powerful": [None], **made}
    towers = [s.cell.run.row.tower for s in states if s.cell.run.row.id == "features"]
    assert len({plan.assets.tower_folder(tower) for tower in towers}) == 3


def test_the_seed_of_the_recipe_is_the_tower_and_the_ranks_without_seeds(tmp_path: Path) -> None:
    plain = region_status(make_plan(load_table("densevlm-table2"), PROFILE, tmp_path))
    _, states = measured(tmp_path)
    ranks_of = {(s.cell.run.row.id, s.seed): s.cell.folder for s in states}
    assert {s.cell.folder for s in plain} == {ranks_of[s.cell.run.row.id, s.seed] for s in plain}
    assert len(set(ranks_of.values())) == len(states)


def test_a_cell_is_the_mean_over_seeds_with_their_deviation(tmp_path: Path) -> None:
    plan, states = measured(tmp_path)
    sheet = region_sheet(plan, states, "none")
    rows = {row["title"]: row for row in sheet.rows}
    deviation = np.std([50, 75, 100], ddof=1)
    assert rows["DenseVLM"]["coco-panoptic/boxes_top1"] == f"75.0 ± {deviation:.1f}"
    assert rows["CLIP"]["coco-panoptic/boxes_top1"] == "25.0"
    assert [rows[title]["seeds"] for title in ("CLIP", "DenseVLM", "feature distillation")] == ["", "3", "0"]
    assert any("mean and sample standard deviation" in line for line in sheet.remarks)
    numbers = {name: text for name, text, _ in region_numbers(plan, states)}
    name = "DensevlmTableTwoDensevlmCocoPanopticBoxesTopOne"
    assert (numbers[name], numbers[f"{name}Sd"]) == ("75.0", f"{deviation:.1f}")


def test_one_seed_has_no_column_and_no_deviation(tmp_path: Path) -> None:
    plan, states = measured(tmp_path, (1,))
    sheet = region_sheet(plan, states, "none")
    (row,) = [row for row in sheet.rows if row["title"] == "DenseVLM"]
    assert row["coco-panoptic/boxes_top1"] == "75.0"
    assert "seeds" not in {c.key for c in sheet.columns}
    assert not any(name.endswith("Sd") for name, _, _ in region_numbers(plan, states))


def boxes_gain(plan: Plan, states: list[RegionStatus]) -> tuple[float, float, float, int]:
    (gain,) = [g for g in gains(plan, states) if g.group == "boxes"]
    assert (gain.row, gain.base) == ("DenseVLM", "CLIP")
    return gain.difference, gain.low, gain.high, gain.seeds


def test_a_gain_is_over_seeds_and_images_and_wider_where_seeds_differ(tmp_path: Path) -> None:
    plan, states = measured(tmp_path)
    value, low, high, seeds = boxes_gain(plan, states)
    assert (value, seeds) == (0.5, 3)
    assert low < value < high
    for state in states:
        if state.cell.run.row.id == "densevlm":
            state.ranks = OF_SEED[1]
    same, low_same, high_same, _ = boxes_gain(plan, states)
    assert same == 0.5
    assert high_same - low_same < high - low


def test_a_gain_of_one_seed_is_the_percentile_interval_over_images(tmp_path: Path) -> None:
    plan, states = measured(tmp_path, (2,))
    times = draw_images(2, 2000)
    low, high = percentile_interval(OF_SEED[2].resampled("boxes", 1, times) - START.resampled("boxes", 1, times))
    assert boxes_gain(plan, states) == (0.75, low, high, 1)


def test_what_is_drawn_of_a_row_is_the_mean_over_its_seeds(tmp_path: Path) -> None:
    _, states = measured(tmp_path)
    drawn = {s.cell.run.row.id: s for s in pooled(states)}
    assert list(drawn) == ["clip", "powerful", "features", "logits", "densevlm"]
    assert drawn["features"].ranks is None
    assert drawn["clip"].ranks is START
    found = drawn["densevlm"].ranks
    assert found is not None
    assert found.accuracy("boxes", 1) == 0.75
    times = draw_images(2, 50)
    each = [OF_SEED[s].resampled("boxes", 1, times) for s in SEEDS]
    np.testing.assert_allclose(found.resampled("boxes", 1, times), np.mean(each, axis=0))


def test_a_row_of_which_one_seed_is_missing_is_the_mean_of_the_others(tmp_path: Path) -> None:
    plan, states = measured(tmp_path)
    states = [dataclasses.replace(s, ranks=None) if s.seed == 2 else s for s in states]
    (entry,) = [e for e in entries(states) if e.first.cell.run.row.id == "densevlm"]
    assert entry.values()["boxes_top1"] == [0.5, 0.75]
    (row,) = [row for row in region_sheet(plan, states, "none").rows if row["title"] == "DenseVLM"]
    assert row["seeds"] == "2"
    assert boxes_gain(plan, states)[3] == 2


def test_training_of_a_row_is_that_of_the_seeds_that_were_trained_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, states = measured(tmp_path)
    seconds: dict[int | None, float] = {1: 60.0, 2: 120.0}  # seed 0 comes with a package
    monkeypatch.setattr(
        RegionStatus,
        "training",
        property(lambda s: TrainingCost(seconds[s.seed], 8, 1e3, "resident", "a CPU") if s.seed in seconds else None),
    )
    sheet = region_sheet(plan, states, "none")
    (row,) = [row for row in sheet.rows if row["title"] == "DenseVLM"]
    assert row["train/epoch"] == "1.50"
    said = "\n".join(sheet.remarks)
    assert "DenseVLM): memory resident" in said
    assert "No memory and time" not in said


def test_the_command_takes_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "densevlm-table2", "--profile", "smoke", "--runs", str(tmp_path), "--dry-run", "--seeds", "0,3"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "feature distillation on COCO\n" in said
    assert "feature distillation on COCO, seed 3\n" in said
    assert "seed 3" not in said.split("CLIP on COCO")[1].splitlines()[0]


def test_a_cell_that_another_table_computes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = make_plan(load_table("densevlm-table2"), PROFILE, tmp_path)
    (state,) = [s for s in region_status(plan) if s.cell.run.row.id == "clip"]
    folder, held = state.cell.folder, threading.Event()

    def compute() -> None:
        with folder_lock(folder):
            held.set()
            time.sleep(0.5)
            START.save(folder / "ranks.npz")
            write_json(folder / "region.json", {})

    def refused(*_: object) -> Ranks:
        raise AssertionError("computed twice")

    monkeypatch.setattr("repro.measuring.regions._measure", refused)
    with ThreadPoolExecutor(1) as other:
        done = other.submit(compute)
        assert held.wait(10)
        measure_regions([state], "cpu", lambda _: None)
        done.result()
    assert (state.status, state.error) == (DONE, None)
    assert state.ranks is not None
    assert state.ranks.accuracy("boxes", 1) == START.accuracy("boxes", 1)
    assert "wait" in capfd.readouterr().err
