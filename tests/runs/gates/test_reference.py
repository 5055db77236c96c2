"""The committed reference of the miniature: what it says is what its counts give."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.configuration.tables import load_table
from repro.datasets.benchmarks import BENCHMARKS
from repro.metrics.counts import Counts
from repro.metrics.miou import metrics_from_counts
from repro.runs.gates.reference import FLOOR, Reference

FILE = Path(__file__).resolve().parents[3] / "results" / "measured" / "mini" / "reference.json"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.load(FILE)


def test_every_expected_value_is_that_of_its_counts(reference: Reference):
    for cell in reference.cells:
        counts = Counts.load(FILE.parent / cell.counts)
        assert len(counts) == cell.images
        assert 100 * metrics_from_counts(counts)[cell.metric] == pytest.approx(cell.expected, abs=1e-5), cell.id


def test_it_holds_whole_rows_of_tables_with_a_tolerance_and_its_reason(reference: Reference):
    assert reference.profile == "mini"
    rows: dict[tuple[str, str, int], set[str]] = {}
    for cell in reference.cells:
        assert cell.row in {r.id for r in load_table(cell.table).rows}
        assert cell.tolerance >= FLOOR
        assert cell.reason
        rows.setdefault((cell.table, cell.row, cell.seed), set()).add(cell.benchmark)
    assert {row for _, row, _ in rows} >= {"clip-base", "catseg-base", "disa-base"}
    assert all(benchmarks == set(BENCHMARKS) for benchmarks in rows.values())
