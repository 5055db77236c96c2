"""The forest plot of a table with many rows: a panel a benchmark, with the names of the rows beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished_table import finished_table

from repro.reports.figures import forest
from repro.reports.tables.evidence import Evidence

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return finished_table(tmp_path_factory.mktemp("runs"))


def test_more_rows_than_colours_are_named_beside_a_panel_of_each_benchmark(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    against = evidence.baseline()
    few = forest.differences_plot(evidence, against)
    assert few is not None
    assert len(few.axes) == len(few.legends) == 1
    monkeypatch.setattr(forest, "COLOURS", ("#000000",))
    many = forest.differences_plot(evidence, against)
    assert many is not None
    assert not many.legends
    others = [row for row in evidence.finished() if row.id != against.id]
    first, *beside = many.axes
    assert [label.get_text() for label in first.get_yticklabels()] == [row.title for row in others]
    assert all(not panel.get_yticklabels() for panel in beside)  # they share its names
    for panel in many.axes:
        benchmark = panel.get_title(loc="left")
        printed = {text.get_text().split(" [")[0]: text.xy[1] for text in panel.texts}
        for place, row in enumerate(others):
            pair = evidence.pair(row.id, against.id, benchmark)
            if pair is not None:
                value = 100 * pair.difference.value
                assert printed[f"{value:+.1f}".replace("-", "−")] == place
                dots = [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "o"]
                assert value in [pytest.approx(dot) for dot in dots]
    assert [panel.get_title(loc="left") for panel in many.axes] == [b.id for b in evidence.plan.benchmarks]
    assert "minus that of CAT-Seg" in many.get_supxlabel()
