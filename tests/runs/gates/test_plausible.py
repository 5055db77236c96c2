"""Numbers that cannot be a working method's are flagged, shown, and in no mean."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_runs import draw_counts, store_counts

from repro.configuration.profiles import load_profile
from repro.configuration.tables import load_table
from repro.metrics.counts import CountsBuilder
from repro.metrics.miou import describe_counts, metrics_from_counts
from repro.reports.tables.frame import paper_frame, tidy_frame
from repro.reports.tables.writers import table_text
from repro.runs.gates.plausible import chance_miou, implausible
from repro.runs.plan import Plan, make_plan
from repro.runs.status import plan_status

NAMES = ("sky", "cat", "dog", "road")


def record_of(prediction: np.ndarray, label: np.ndarray) -> dict[str, object]:
    builder = CountsBuilder(len(NAMES), 255)
    builder.add("a", prediction, label)
    return describe_counts(builder.build(), NAMES)


def labels(side: int = 400) -> np.ndarray:
    return np.random.default_rng(0).choice(4, (side, side), p=[0.4, 0.3, 0.2, 0.1])


def test_chance_is_what_random_labels_reach():
    label = labels()
    builder = CountsBuilder(4, 255)
    builder.add("a", np.random.default_rng(1).integers(0, 4, label.shape), label)
    counts = builder.build()
    truth = {n: int(t) for n, t in zip(NAMES, counts.totals()[1], strict=True)}
    assert chance_miou(truth) == pytest.approx(metrics_from_counts(counts)["miou_gt"], abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_one_class_for_all_pixels_is_flagged_and_named(name: str):
    label = labels(100)
    why = implausible(record_of(np.full_like(label, NAMES.index(name)), label))
    assert why is not None
    assert repr(name) in why


def test_labels_that_were_shuffled_are_flagged_and_a_poor_method_is_not():
    label = labels(100)
    rolled = (label + 1) % 4
    assert "not above chance" in (implausible(record_of(rolled, label)) or "")
    poor = np.where(np.random.default_rng(2).random(label.shape) < 0.3, label, rolled)
    assert implausible(record_of(poor, label)) is None


def test_one_class_may_be_right_where_nearly_all_is_that_class():
    label = np.zeros((100, 100), np.int64)
    label[:5] = 1
    assert implausible(record_of(np.zeros_like(label), label)) is None


def test_a_set_without_ground_truth_has_nothing_to_flag():
    assert implausible(record_of(np.zeros((4, 4), np.int64), np.full((4, 4), 255))) is None


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    profile = dataclasses.replace(load_profile("smoke"), flag_implausible=True, seeds=(0, 1))
    plan = make_plan(load_table("table1"), profile, tmp_path, methods=["catseg"], benchmarks=["PAS-20"])
    (spec,) = plan.benchmarks
    (row,) = {run.row.id for run in plan.runs}
    store_counts(plan, row, "PAS-20", draw_counts(spec, 6, 0.8))
    builder = CountsBuilder(spec.num_classes, spec.ignore_label)
    for image in range(6):
        builder.add(f"image_{image:03d}", np.zeros((40, 40), np.int64), labels(40))
    store_counts(plan, row, "PAS-20", builder.build(), seed=1)
    return plan


def test_a_flagged_cell_is_shown_with_its_reason_and_in_no_mean(plan: Plan):
    cells = plan_status(plan)
    assert [c.status for c in cells] == ["done", "done"]
    assert [c.flag is None for c in cells] == [True, False]
    good = 100 * cells[0].metrics["miou_gt"]  # type: ignore[index]
    assert paper_frame(plan, cells)["PAS-20"][0] == pytest.approx(good)
    assert paper_frame(plan, cells)["seeds"][0] == 1
    assert list(tidy_frame(plan, cells)["flag"].fillna("")) == ["", cells[1].flag]
    for form in ("md", "latex"):
        text = table_text(plan, cells, form)
        assert "Flagged and in no mean: CAT-Seg" in text
        assert "seed 1" in text
    assert cells[1].to_json("table1")["flag"] == cells[1].flag


def test_who_wants_all_numbers_gets_them(plan: Plan):
    kept = dataclasses.replace(plan, profile=dataclasses.replace(plan.profile, flag_implausible=False))
    cells = plan_status(kept)
    assert all(c.flag is None for c in cells)
    mean = np.mean([100 * c.metrics["miou_gt"] for c in cells if c.metrics])
    assert paper_frame(kept, cells)["PAS-20"][0] == pytest.approx(mean)
