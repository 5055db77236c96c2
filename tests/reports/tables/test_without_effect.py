"""An ablation that changes nothing is said to; one that changes a single pixel is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.reports.tables.frame import FRACTIONS
from repro.reports.tables.without_effect import without_effect
from repro.reports.tables.writers import table_text
from repro.runs.plan import Plan, make_plan
from repro.runs.status import DONE, MISSING, CellStatus

Change = Callable[[str, int, str], float]


def plan_of(tmp_path: Path, table: str = "logoseg-table2", seeds: list[int] | None = None) -> Plan:
    return make_plan(
        load_table(table), load_profile("mini"), tmp_path, seeds=seeds or [0], benchmarks=["A-150", "PC-59"]
    )


def states(plan: Plan, change: Change) -> list[CellStatus]:
    """Every cell done, with the numbers of its seed and benchmark plus ``change`` of row, seed and benchmark."""
    found = []
    for number, cell in enumerate(plan.cells):
        where = cell.run.row.id, cell.run.seed, cell.benchmark.id
        base = 0.3 + 0.01 * cell.run.seed + 0.1 * (cell.benchmark.id == "A-150")
        metrics: dict[str, Any] = {name: base + change(*where) for name in FRACTIONS}
        found.append(CellStatus(cell, DONE, [], {**metrics, "num_images": 3, "hardware": f"h{number % 2}"}))
    return found


def of_rows(**values: float) -> Change:
    return lambda row, _seed, _benchmark: values.get(row.replace("-", "_"), 0.0)


def test_equal_rows_are_named_with_what_differs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    cells = states(plan, of_rows(op_ccf=0.01, full=0.02))
    (line,) = without_effect(cells, FRACTIONS)
    assert line == (
        "+ OP gave the numbers of Baseline to the last digit on 2 benchmarks: "
        "prior 1.0 in place of 0.0 changed nothing."
    )
    assert line in table_text(plan, cells, "md")


def test_a_difference_in_one_measure_of_one_benchmark_or_seed_is_an_effect(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, seeds=[0, 1])

    def once(row: str, seed: int, benchmark: str) -> float:
        if row == "op":
            return 1e-12 if (seed, benchmark) == (1, "PC-59") else 0.0
        return {"baseline": 0.0, "op-ccf": 0.1, "full": 0.2}[row]

    assert without_effect(states(plan, once), FRACTIONS) == []
    cells = states(plan, of_rows(op_ccf=0.1, full=0.2))
    assert len(without_effect(cells, FRACTIONS)) == 1
    one = next(c for c in cells if c.cell.run.row.id == "op")
    assert one.metrics is not None
    one.metrics["pacc"] += 1e-12
    assert without_effect(cells, FRACTIONS) == []


def test_what_is_not_counted_or_not_shared_decides_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    cells = states(plan, of_rows(op_ccf=0.1, full=0.2))
    for cell in cells:
        if cell.cell.run.row.id == "op":
            cell.flag = "no better than chance"
    assert without_effect(cells, FRACTIONS) == []
    only = {"baseline": "A-150", "op": "PC-59"}
    apart = [
        c if only.get(c.cell.run.row.id, "A-150") == c.cell.benchmark.id else CellStatus(c.cell, MISSING, [])
        for c in states(plan, of_rows(op_ccf=0.1, full=0.2))
    ]
    assert without_effect(apart, FRACTIONS) == []


def test_one_run_under_two_titles_and_rows_of_other_methods_are_no_ablation(tmp_path: Path) -> None:
    table3 = plan_of(tmp_path, "logoseg-table3")  # two of its rows are the same run
    same = [r.row.id for r in table3.runs if r.row.id in ("lq-gc-da", "depth-2")]
    assert len(same) == 2
    others = {"lq": 0.1, "lq_gc": 0.2, "depth_1": 0.3, "depth_3": 0.4}
    assert without_effect(states(table3, of_rows(**others)), FRACTIONS) == []
    table5 = plan_of(tmp_path, "logoseg-table5")
    assert {r.entry.name for r in table5.runs} == {"catseg", "logoseg"}
    assert without_effect(states(table5, of_rows()), FRACTIONS) == []
