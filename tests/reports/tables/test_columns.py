"""Columns that are switched on: intervals, foreground bias, boundary quality."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from fake_runs import draw_counts, plan_of, store_counts

from repro.cli.main import main
from repro.datasets.benchmarks import get_benchmark
from repro.metrics.miou import metrics_from_counts
from repro.reports.tables.columns import BIAS_COLUMNS, COLUMNS, Columns
from repro.reports.tables.frame import paper_frame, tidy_frame
from repro.reports.tables.writers import table_text
from repro.runs.plan import Plan
from repro.runs.status import plan_status
from repro.stats.metrics import seen_metrics

ALL = Columns(intervals=True, measures=("bias", "boundary", "seen", "size"))
B = get_benchmark("A-150")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    plan = plan_of(tmp_path_factory.mktemp("runs"), seeds=[0, 1], benchmarks=["A-150"])
    store_counts(plan, "clip-base", "A-150", draw_counts(B, 30, 0.4))
    for seed in (0, 1):
        store_counts(plan, "catseg-base", "A-150", draw_counts(B, 30, 0.6, seed=seed), seed)
    return plan


def test_without_columns_a_report_is_what_it_was(plan: Plan):
    names = set(tidy_frame(plan, plan_status(plan)))
    assert not names & {"interval_low", *(name for own in COLUMNS.values() for name in own)}
    assert "[" not in table_text(plan, plan_status(plan), "md").split("|")[-2]


def test_intervals_hold_the_value_and_seeds_widen_them(plan: Plan):
    cells = tidy_frame(plan, plan_status(plan), ALL).set_index(["row", "seed"])
    done = cells[cells.status == "done"]
    assert ((done.interval_low < done.miou_gt) & (done.miou_gt < done.interval_high)).all()
    rows = paper_frame(plan, plan_status(plan), ALL)
    catseg = rows[(rows.method == "CAT-Seg") & (rows.source == "measured")].iloc[0]
    assert catseg["A-150 low"] < catseg["A-150"] < catseg["A-150 high"]
    assert catseg["A-150"] == pytest.approx(100 * done.loc["catseg-base"].miou_gt.mean())


def test_bias_needs_nothing_but_the_counts_and_boundary_is_empty_where_not_measured(plan: Plan):
    cells = tidy_frame(plan, plan_status(plan), ALL)
    clip = cells[cells.row == "clip-base"].iloc[0]
    counts, things = draw_counts(B, 30, 0.4), [k == "thing" for k in B.class_kinds()]
    stuff = [not t for t in things]
    crossing = counts.confusion[stuff][:, things].sum() / counts.confusion[stuff].sum()
    assert clip.stuff_as_thing == pytest.approx(crossing)
    assert clip.boundary_iou is None or pd.isna(clip.boundary_iou)
    kinds = {"miou_gt_thing", "miou_gt_stuff"}
    values = clip[list(kinds)].astype(float)
    assert values.min() <= metrics_from_counts(counts)["miou_gt"] <= values.max()


def test_seen_classes_need_nothing_but_the_counts_and_size_is_empty_where_not_measured(plan: Plan):
    cells = tidy_frame(plan, plan_status(plan), Columns(measures=("seen", "size")))
    clip = cells[cells.row == "clip-base"].iloc[0]
    assert clip.miou_seen == seen_metrics(draw_counts(B, 30, 0.4), B)["miou_seen"]
    assert clip[list(COLUMNS["size"])].isna().all()
    assert "boundary_iou" not in cells


def test_a_cell_that_is_not_done_has_empty_columns(plan: Plan):
    cells = tidy_frame(plan, plan_status(plan), ALL)
    assert cells[cells.status != "done"][["interval_low", *BIAS_COLUMNS]].isna().all(axis=None)


def test_markdown_and_latex_print_intervals_in_brackets_and_say_what_they_are(plan: Plan):
    for form in ("md", "latex"):
        text = table_text(plan, plan_status(plan), form, Columns(intervals=True))
        assert "95 \\%" in text or "95 %" in text
        assert "[" in text
    read = pd.read_csv(io.StringIO(table_text(plan, plan_status(plan), "csv", Columns(intervals=True))))
    assert {"A-150 low", "A-150 high"} <= set(read)


def test_report_prints_them_when_asked(plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["report", "table1", "--profile", "smoke", "--runs", str(plan.assets.store.root), "--benchmarks", "A-150"]
    assert main([*words, "--results", str(tmp_path), "--intervals", "--measures", "bias"]) == 0
    assert "In brackets" in capsys.readouterr().out
    assert "stuff_as_thing" in (tmp_path / "table1_cells.csv").read_text().splitlines()[0]
