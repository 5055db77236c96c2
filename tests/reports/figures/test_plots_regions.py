"""Plots of region tables say what the ranks say, and draw equal files from equal numbers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from repro.cli.main import main
from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.errors import UsageError
from repro.measuring.regions import RegionStatus, check_rows, region_status
from repro.metrics.regions.accuracy import Ranks
from repro.reports.figures.plots_regions import along_plot, categories_plot, sorted_plot, write_region_plots
from repro.runs.plan import Plan, make_plan
from repro.runs.status import DONE

pytest.importorskip("matplotlib")


def ranks(*thing_ranks: int) -> Ranks:
    """Two images with a person, a bicycle and stuff each; the ranks of the things' boxes and masks in order."""
    box = np.array([thing_ranks[0], thing_ranks[1], 0, thing_ranks[2], thing_ranks[3], 9], np.int16)
    category = np.array([0, 1, 100, 0, 1, 100], np.int16)
    return Ranks(2, np.array([0, 0, 0, 1, 1, 1], np.int32), category, category < 80, box, box)


def table_of(name: str, folder: Path, **found: Ranks) -> tuple[Plan, list[RegionStatus]]:
    plan = make_plan(load_table(name), load_profile("smoke"), folder)
    states = region_status(plan)
    for state in states:
        own = found.get(state.cell.run.row.id.replace("-", "_"))
        if own is not None and state.cell.source.id == "coco-panoptic":
            state.ranks, state.status = own, DONE
    return plan, states


def words(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_shares_of_a_category_are_those_of_its_segments() -> None:
    assert ranks(0, 3, 7, 0).by_category("boxes", 1) == {0: (0.5, 2), 1: (0.5, 2)}
    assert ranks(0, 3, 7, 0).by_category("masks_thing", 5) == {0: (0.5, 2), 1: (1.0, 2)}
    assert ranks(0, 3, 7, 0).by_category("masks_stuff", 1) == {100: (0.5, 2)}
    mean = np.mean([share for share, _ in ranks(0, 0, 0, 2).by_category("boxes", 1).values()])
    assert ranks(0, 0, 0, 2).accuracy("boxes", 1) == mean


def test_a_report_draws_the_last_row_against_the_one_it_was_aligned_from(tmp_path: Path) -> None:
    plan, states = table_of("densevlm-table1", tmp_path, clip=ranks(1, 1, 1, 1), densevlm=ranks(0, 0, 0, 4))
    for folder in ("a", "b"):
        paths = write_region_plots(plan, states, tmp_path / folder)
    names = {"densevlm-table1_categories_coco-panoptic", "densevlm-table1_sorted_coco-panoptic"}
    assert {p.name for p in paths} == {f"{name}.{form}" for name in names for form in ("pdf", "svg")}
    for path in paths:
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    text = words(tmp_path / "a" / "densevlm-table1_categories_coco-panoptic.svg")
    # Person: both segments named, bicycle: one of two; the better comes first.
    things = [word for word in text if word in ("person (2)", "bicycle (2)")]
    assert things == ["person (2)", "bicycle (2)"] * 2
    assert text[-2:] == ["DenseVLM", "CLIP"]


def test_points_lie_at_the_accuracies_of_both_rows(tmp_path: Path) -> None:
    _, states = table_of("densevlm-table1", tmp_path, clip=ranks(0, 1, 1, 1), densevlm=ranks(0, 0, 0, 4))
    own = {s.cell.run.row.id: s for s in states if s.ranks is not None}
    panel = categories_plot(own["densevlm"], own["clip"]).axes[0]
    before, values = (np.asarray(line.get_ydata()).tolist() for line in panel.lines)
    assert (before, values) == ([50, 0], [100, 50])
    curve = sorted_plot(list(own.values())).axes[0].lines
    assert [np.asarray(line.get_ydata()).tolist() for line in curve] == [[50, 0], [100, 50]]


def test_accuracy_stands_at_the_place_of_its_row_and_the_start_is_a_line(tmp_path: Path) -> None:
    found = {"clip": ranks(1, 1, 1, 1), "densevlm_1_of_4": ranks(0, 1, 0, 1), "densevlm_1_of_1": ranks(0, 0, 0, 0)}
    plan, states = table_of("densevlm-figure6", tmp_path, **found)
    done = [s for s in states if s.ranks is not None]
    panel = along_plot(plan.table.along, done).axes[0]
    boxes, start = panel.lines[:2]
    assert np.asarray(boxes.get_xdata()).tolist() == [0.25, 1]
    assert np.asarray(boxes.get_ydata()).tolist() == [50, 100]
    assert set(np.asarray(start.get_ydata()).tolist()) == {0}
    text = words(
        next(p for p in write_region_plots(plan, states, tmp_path) if p.name.endswith("along_coco-panoptic.svg"))
    )
    assert {"1/4", "1", "share of the training images", "dashed: CLIP"} <= set(text)


def test_nothing_finished_is_no_figure(tmp_path: Path) -> None:
    plan, states = table_of("densevlm-table1", tmp_path)
    assert write_region_plots(plan, states, tmp_path / "out") == []


@pytest.mark.follows("repro.measuring.regions:check_rows")
def test_a_row_that_is_not_finished_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, states = table_of("densevlm-table1", tmp_path, clip=ranks(0, 0, 0, 0))
    check_rows(plan, states, (None, "clip"))
    with pytest.raises(UsageError, match="densevlm") as caught:
        check_rows(plan, states, ("densevlm", None))
    assert caught.value.mend is not None
    assert main([*shlex.split(caught.value.mend)[1:], "--runs", str(tmp_path)]) == 0
    assert "densevlm" in capsys.readouterr().out


def test_the_row_it_is_set_against_may_be_named(tmp_path: Path) -> None:
    three = {"clip": ranks(1, 1, 1, 1), "powerful": ranks(0, 0, 0, 0), "densevlm": ranks(0, 0, 0, 4)}
    plan, states = table_of("densevlm-table1", tmp_path, **three)
    write_region_plots(plan, states, tmp_path / "x", baseline="densevlm", row="powerful")
    text = words(tmp_path / "x" / "densevlm-table1_categories_coco-panoptic.svg")
    assert text[-2:] == ["the powerful model", "DenseVLM"]
