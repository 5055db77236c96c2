"""Published values in columns, and the spread over seeds."""

from __future__ import annotations

import statistics
from pathlib import Path

import pandas as pd
import pytest

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.reports.tables.frame import beside_frame, paper_frame
from repro.reports.tables.sheet import Column, Sheet, escape, number
from repro.reports.tables.writers import table_text
from repro.runs.plan import Plan, make_plan
from repro.runs.status import DONE, MISSING, CellStatus

SEEDS = {0: 0.50, 1: 0.52, 2: 0.57}


def plan_of(table: str, profile: str, tmp_path: Path, seeds: list[int]) -> Plan:
    return make_plan(load_table(table), load_profile(profile), tmp_path, seeds=seeds, benchmarks=["A-150"])


def done(plan: Plan, left_out: int = 0) -> list[CellStatus]:
    metrics = [{"miou_gt": SEEDS[c.run.seed], "num_images": 3, "hardware": "h"} for c in plan.cells]
    states = [CellStatus(c, DONE, [], m) for c, m in zip(plan.cells, metrics, strict=True)]
    return states[left_out:] + [CellStatus(c, MISSING, []) for c in plan.cells[:left_out]]


def test_several_seeds_give_mean_and_sample_standard_deviation(tmp_path: Path):
    plan = plan_of("table4", "mini", tmp_path, [0, 1, 2])
    row = beside_frame(plan, done(plan)).iloc[0]
    values = [100 * v for v in SEEDS.values()]
    assert row["seeds"] == 3
    assert row["A-150"] == pytest.approx(statistics.fmean(values))
    assert row["A-150 sd"] == pytest.approx(statistics.stdev(values))
    assert "53.0 ± 3.6" in table_text(plan, done(plan), "md")
    assert r"53.0 $\pm$ 3.6" in table_text(plan, done(plan), "latex")


def test_only_seeds_that_are_done_are_counted_and_a_benchmark_with_fewer_is_named(tmp_path: Path):
    plan = make_plan(
        load_table("table4"), load_profile("mini"), tmp_path, seeds=[0, 1, 2], benchmarks=["A-150", "PC-59"]
    )
    cells = done(plan)
    row = plan.cells[0].run.row.id
    gone = [c for c in cells if c.cell.run.row.id == row and c.cell.run.seed == 2]
    gone += [c for c in cells if c.cell.run.row.id == row and c.cell.run.seed == 1 and c.cell.benchmark.id == "PC-59"]
    left = [CellStatus(c.cell, MISSING, []) if c in gone else c for c in cells]
    frame = beside_frame(plan, left)
    assert list(frame["seeds"]) == [2, 3, 3]
    assert "Fewer seeds: (I) k = 2 of 64 (paper: 16 of 576) (tiny CLIP) on PC-59 1." in table_text(plan, left, "md")
    assert "Fewer seeds" not in table_text(plan, cells, "md")


def test_one_seed_has_no_column_of_spread(tmp_path: Path):
    plan = plan_of("table4", "mini", tmp_path, [0])
    assert not [c for c in beside_frame(plan, done(plan)) if c.endswith("sd")]
    table1 = plan_of("table1", "mini", tmp_path, [0])
    assert not [c for c in paper_frame(table1, done(table1)) if c.endswith("sd")]


def test_difference_is_measured_minus_published_and_only_where_comparable(tmp_path: Path):
    paper = plan_of("table4", "paper", tmp_path, [0])
    row = beside_frame(paper, done(paper)).iloc[0]
    assert row["A-150 published"] == 32.6
    assert row["A-150 difference"] == pytest.approx(50.0 - 32.6)
    mini = plan_of("table4", "mini", tmp_path, [0])
    frame = beside_frame(mini, done(mini))
    assert "A-150 published" in frame
    assert not [c for c in frame if "difference" in c]
    assert "difference" not in table_text(mini, done(mini), "md")


def test_a_cell_that_is_not_done_is_a_gap_not_a_zero(tmp_path: Path):
    plan = plan_of("table4", "paper", tmp_path, [0])
    frame = beside_frame(plan, done(plan, left_out=len(plan.cells)))
    assert frame["A-150"].isna().all()
    assert frame["A-150 difference"].isna().all()


def test_the_spread_of_table_1_stands_after_the_benchmarks(tmp_path: Path):
    plan = plan_of("table1", "mini", tmp_path, [0, 1])
    frame = paper_frame(plan, done(plan))
    assert list(frame.columns)[-2:] == ["A-150", "A-150 sd"]
    zero_shot = frame[frame["seeds"] == 1]
    assert zero_shot["A-150 sd"].isna().all()


def test_csv_keeps_full_precision(tmp_path: Path):
    import io

    plan = plan_of("table4", "mini", tmp_path, [0, 1, 2])
    read = pd.read_csv(io.StringIO(table_text(plan, done(plan), "csv")))
    assert read["A-150"][0] == statistics.fmean(100 * v for v in SEEDS.values())


def test_a_sheet_prints_gaps_groups_and_escapes():
    columns = [Column("a", "A_1"), Column("b", "B", "left & right", right=True), Column("c", "C", "left & right")]
    sheet = Sheet("T", "50 %", "tab:x", columns, [{"a": "x", "b": "1"}], ["note"])
    assert "| x | 1 | - |" in sheet.markdown()
    latex = sheet.latex()
    assert r"\multicolumn{2}{c}{left \& right}" in latex
    assert r"\cmidrule(lr){2-3}" in latex
    assert r"A\_1 & B & C \\" in latex
    assert "x & 1 & -- \\\\" in latex


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(1234.56, False, "1,234.6"), (0.5, True, "+0.5"), (None, False, ""), (float("nan"), True, "")],
)
def test_numbers_are_printed_or_left_out(value: float | None, signed: bool, text: str):
    assert number(value, 1, signed=signed) == text


def test_plus_minus_is_set_in_mathematics():
    assert escape("1 ± 2") == r"1 $\pm$ 2"
